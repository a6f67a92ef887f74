//! Architectures whose vectors we do not speak: eight bytes at a time it is.

use super::mask::Variant;

/// What this CPU can do, the fastest first.
pub(super) fn variants() -> impl Iterator<Item = Variant> {
    std::iter::empty()
}

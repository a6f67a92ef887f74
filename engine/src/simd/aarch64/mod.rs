//! AArch64: NEON in every one that Rust's targets allow for.

mod neon;

use super::mask::Variant;

/// What this CPU can do, the fastest first.
pub(super) fn variants() -> impl Iterator<Item = Variant> {
    std::iter::once(Variant { name: "neon", mask: neon::mask })
}

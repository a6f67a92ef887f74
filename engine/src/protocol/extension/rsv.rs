//! The reserved bits of a frame.

/// The three reserved bits, which extensions give a meaning to (RFC 6455 §5.2, §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rsv(u8); // the bits stand where they stand in byte 0

impl Rsv {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// The first bit: "this message is compressed", with permessage-deflate (RFC 7692 §6).
    pub const RSV1: Self = Self(0x40);
    /// The second bit.
    pub const RSV2: Self = Self(0x20);
    /// The third bit.
    pub const RSV3: Self = Self(0x10);
}

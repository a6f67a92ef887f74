//! The masking code and its tests alone, as `.ci/neon` compiles them for a CPU under emulation.
//!
//! UTF-8 stays behind, for it needs a crate, and so do the properties.

#[path = "../engine/src/simd"]
mod simd {
    #[cfg(target_arch = "aarch64")]
    #[path = "aarch64/mod.rs"]
    mod arch;
    #[cfg(not(target_arch = "aarch64"))]
    #[path = "other.rs"]
    mod arch;
    mod mask;
    mod naive;
    mod swar;
    mod tests;
    mod vector;

    use self::vector::rotate;
}

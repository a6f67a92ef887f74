//! What the kernel says of a process and of its own memory: `/proc`, as `bench` and `loadgen` read it.

#![forbid(unsafe_code)]

mod kernel_memory;
mod machine;
mod process;

pub use self::{
    kernel_memory::{KernelMemory, Taken},
    machine::{available_len, memory_len, processor},
    process::Process,
};

/// The words behind `NAME:` at the start of a line.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then_some(value.trim())
    })
}

/// The same as bytes, where it is `123 kB`; zero, if it is not there.
fn field_len(text: &str, name: &str) -> u64 {
    field(text, name).map_or(0, first_number) * 1024
}

/// The number that `text` begins with, or zero.
fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_whole_names() {
        let text = "MemTotal:   99 kB\nMem: 7 kB\nmodel name\t: Some CPU: 3 GHz\nempty\n";
        assert_eq!(field(text, "model name"), Some("Some CPU: 3 GHz"));
        assert_eq!(field(text, "empty"), None);
        assert_eq!((field_len(text, "Mem"), field_len(text, "MemFree")), (7 * 1024, 0));
    }
}

//! The machine's memory, and its processor.

use std::{fs, io};

use super::{field, field_len};

/// Bytes of memory that there are.
pub fn memory_len() -> io::Result<u64> {
    Ok(field_len(&meminfo()?, "MemTotal"))
}

/// Bytes that are free or hold nothing but copies of files. `MemAvailable` would count sockets in use
/// as half free, since the caches that they are in can be shrunk.
pub fn available_len() -> io::Result<u64> {
    meminfo().map(|text| available(&text))
}

/// The model of the processor, where it says.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    field(&text, "model name").map(ToOwned::to_owned)
}

fn meminfo() -> io::Result<String> {
    fs::read_to_string("/proc/meminfo")
}

fn available(meminfo: &str) -> u64 {
    let len = |name| field_len(meminfo, name);
    (len("MemFree") + len("Buffers") + len("Cached")).saturating_sub(len("Shmem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_available_unless_they_are_memory() {
        let text = "MemTotal: 99 kB\nMemFree: 10 kB\nBuffers: 2 kB\nCached: 5 kB\nShmem: 1 kB\n";
        assert_eq!(available(text), 16 * 1024);
        assert!((1..memory_len().unwrap()).contains(&available_len().unwrap()));
    }
}

//! The whole connection machinery on the simulated driver.

use crate::{conn::Connection, pool::Slab};

#[test]
fn an_idle_connection_is_one_cache_line() {
    assert_eq!(Slab::<Connection<()>>::ENTRY_LEN, 64);
    assert_eq!(Slab::<Connection<u64>>::ENTRY_LEN, 64, "small data lives inline");
    assert_eq!(Slab::<Connection<Box<[u8; 1000]>>>::ENTRY_LEN, 64);
}

//! Whatever bytes a record consists of: reading them never panics, and what is accepted survives being written and read
//! again.

#![no_main]

use daymark_adapters::record_json::{read, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = read(bytes) {
        assert_eq!(read(&write(&record)), Ok(record));
    }
});

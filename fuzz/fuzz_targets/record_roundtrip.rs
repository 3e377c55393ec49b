//! Every record that can be published reads back as itself, and cut off anywhere it is never another one.

#![no_main]

use daymark_adapters::record_json::{read, write};
use daymark_fuzz::AnyRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (AnyRecord, [u16; 8])| {
    let (AnyRecord(record), cuts) = input;
    let line = write(&record);
    assert_eq!(line.iter().position(|&b| b == b'\n'), Some(line.len() - 1));
    assert_eq!(read(&line).as_ref(), Ok(&record));
    // The line feed is all that may be missing.
    let whole = line.len() - 1;
    assert_eq!(read(&line[..whole]).as_ref(), Ok(&record));
    for cut in cuts.map(|cut| usize::from(cut) % whole) {
        assert!(read(&line[..cut]).is_err(), "cut at {cut}");
    }
});

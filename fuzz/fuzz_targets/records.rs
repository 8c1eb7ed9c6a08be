//! Any bytes as a file of records: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgauge_report::RecordReader;

fuzz_target!(|data: &[u8]| {
    if let Ok(reader) = RecordReader::new(data) {
        reader.for_each(drop);
    }
});

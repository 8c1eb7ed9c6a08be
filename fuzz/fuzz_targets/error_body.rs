//! Any bytes as an error answer or a list of models: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(message) = streamgauge_wire::server_message(data) {
        assert!(message.chars().count() <= 4_096);
    }
    let _ = streamgauge_wire::names_field(data, "stream_options");
    let _ = streamgauge_wire::model_ids(data);
});

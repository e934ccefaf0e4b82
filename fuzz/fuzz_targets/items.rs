#![no_main]

use actix_responses::fuzzing;
use actix_responses_fuzz::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    properties::items(input);
    if let Ok(json) = std::str::from_utf8(input) {
        fuzzing::walk(json);
        fuzzing::walk(&format!(
            "{{\"response\":{json},\"sequence_number\":{json}}}"
        ));
    }
});

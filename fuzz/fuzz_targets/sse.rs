#![no_main]

use actix_responses_fuzz::{memory, properties};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    properties::sse(input);
    properties::sse_memory(input, memory::held);
});

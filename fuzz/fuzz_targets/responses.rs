#![no_main]

use actix_responses::wire::Wire;
use actix_responses_fuzz::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    properties::stream(Wire::Responses, input);
});

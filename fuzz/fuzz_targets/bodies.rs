#![no_main]

use actix_responses_fuzz::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::bodies(input));

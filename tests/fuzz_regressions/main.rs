//! The properties of the fuzz targets, on stable Rust and in every `cargo test`: with inputs that lie at the edges, and those
//! that a target has found. A finding is added here as bytes, with a sentence about what was wrong.
//!
//! `fuzz/run.sh` looks for more.

#[expect(
    unreachable_pub,
    reason = "the crate of the fuzz targets takes this file as a module of its library"
)]
mod properties;

use actix_responses::wire::Wire;

/// The first byte says how the rest is cut: 0 not at all, up to 127 in pieces of so many bytes, above that unevenly.
const STREAMS: &[&[u8]] = &[
    b"",
    b"\x00",
    b"\x01data: {\"type\":\"response.completed\"}",
    b"\x02\xEF\xBB\xBFdata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\ud83d\"}\r\n\r\ndata: [DONE]\r\r",
    b"\xC8event: error\ndata: {\"error\":null}\n\n",
    b"\x05event: response.done\ndata: {\"response\":{\"status\":\"failed\",\"error\":\"m\"}}\n\n",
    b"\x03data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Please try again in 99999999999999999999d\"}}}\n\n",
    b"\x07data: {\"type\":\"codex.rate_limits\",\"rate_limits\":{\"primary\":{\"used_percent\":1e400,\"reset_at\":-1}}}\n\ndata: {\"type\":\"response.incomplete\",\"response\":7}\n\n",
    b"\x09data: {\"id\":\"c\",\"choices\":[{\"index\":4294967295,\"delta\":{\"tool_calls\":[{\"index\":-1,\"function\":{\"arguments\":{\"a\":1}}}]},\"finish_reason\":\"stop\"}]}\n\ndata: {\"error\":{}}\n\n",
    b"\x0bdata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ud800\"}}]}\n\n",
    // A usage with half a surrogate pair in a name was kept as it came, and what was written of its event could not be read.
    b"\x09data: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":1,\"total_token\\ud83ds\":3}}}\n\n",
    b"\x01data\xff: \xf0\x9f\x98\nid: \x00\nid: \xff\nretry: 99999999999999999999999\ndata\ndata\n\n",
];

const ERRORS: &[&[u8]] = &[
    b"",
    b"\x00\x1d",
    b"\x00\x1dretry-after: 1e400\nretry-after-ms: nan\n\n{\"error\":\"m\"}",
    b"\x00\x1dretry-after: Fri, 31 Dec 9999 23:59:59 GMT\n\ntry again in 1e9h",
    b"\x00\x1dx-ratelimit-reset-tokens: 9999999999999999999h\nx-codex-primary-used-percent: inf\nx--primary-used-percent: 1\n\n",
    b"\x00\x67cf-ray: \n\n<html><title></title>",
    b"\x00\x00\n\n[[{\"error\":{\"message\":{\"message\":[]}}}]]",
    b"\x00\x1d\n\ntry again in 1.2.3s try again in 4s \xff",
];

const ITEMS: &[&[u8]] = &[
    b"null",
    b"{}",
    br#"{"type":"message","type":"reasoning"}"#,
    br#"{"type":"function_call","arguments":{"a":1},"call_id":null}"#,
    br#"{"type":"compaction_summary","encrypted_content":"e","n":-0.0,"big":123456789012345678901234567890}"#,
    br#"{"role":"user","content":"\ud83d"}"#,
    br#"{"role":"user","content":[],"id":null}"#,
    br#"{"type":"message","role":"user","content":[{"type":"output_text","text":"a","logprobs":null}],"id":null,"x":null}"#,
    br#"{"type":"reasoning","summary":[],"status":null}"#,
    br#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a","x":1},{"type":"novel"},7]}"#,
];

const BODIES: &[&[u8]] = &[
    b"{}",
    br#"{"model":"m","input":"hi","temperature":1.0,"stream":false,"x":[1e2,{"a":null}]}"#,
    br#"{"model":"m","model":"n","input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"text":{"format":{"type":"json_object"},"x":1}}"#,
    br#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}],"model":"m","stream":true,"stream_options":{},"max_tokens":5,"logit_bias":{"1":2}}"#,
    br#"{"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{},"strict":null}}],"tool_choice":{"type":"function","function":{"name":"f"}},"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"b":1,"a":2}}}}"#,
    br#"{"input":null,"messages":7}"#,
];

#[test]
fn bodies_keep_their_properties() {
    BODIES.iter().for_each(|input| properties::bodies(input));
}

#[test]
fn the_sse_decoder_keeps_its_properties() {
    STREAMS.iter().for_each(|input| properties::sse(input));
}

/// Only the fuzz target counts allocations; here the property runs without its bound.
#[test]
fn the_sse_decoder_takes_what_the_memory_property_feeds() {
    STREAMS
        .iter()
        .for_each(|input| properties::sse_memory(input, || 0));
}

#[test]
fn the_stream_decoder_keeps_its_properties_on_both_wires() {
    for input in STREAMS {
        properties::stream(Wire::Responses, input);
        properties::stream(Wire::Chat, input);
    }
    // A usage that is deeper than parsers go, in an error, which is written as JSON.
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let usage = format!(r#"{{"input_tokens":1,"deep":{deep}}}"#);
    let failed = format!(r#"{{"id":"r","error":{{"message":"m"}},"usage":{usage}}}"#);
    let event = format!("\x09data: {{\"type\":\"response.failed\",\"response\":{failed}}}\n\n");
    properties::stream(Wire::Responses, event.as_bytes());
}

#[test]
fn refusals_keep_their_properties() {
    ERRORS.iter().for_each(|input| properties::errors(input));
}

#[test]
fn items_keep_their_properties() {
    ITEMS.iter().for_each(|input| properties::items(input));
}

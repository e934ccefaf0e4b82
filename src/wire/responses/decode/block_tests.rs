use proptest::prelude::*;

use super::*;
use crate::sse::SseLimits;
use crate::wire::{
    Wire,
    equivalence::{self, Decoded, mutate, mutation},
    sse_stream::SseStream,
    template::MAX_UNUSED,
};

/// Decodes without a template.
fn parsed(body: &[u8]) -> Decoded {
    let dialect = ResponsesDialect::new(SseLimits::default().into());
    equivalence::parsed(dialect, ResponsesDialect::forget, body)
}

fn check(body: &[u8], chunk_bytes: usize) {
    equivalence::check(Wire::Responses, body, chunk_bytes, &parsed(body));
}

const KEEPALIVE: &str = "data: {\"type\":\"keepalive\"}\n\n";

/// A block of OpenAI's shape.
fn block(number: u64, text: &str, padding: &str) -> String {
    format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"{text}\",\"logprobs\":[],\"obfuscation\":\"{padding}\"}}\n\n"
    )
}

/// A dialect that has read a block, after one that it cannot learn from.
fn learned_within(limits: SseLimits, block: &str) -> ResponsesDialect {
    let mut dialect = ResponsesDialect::new(limits.into());
    let mut stream = SseStream::new(SseLimits::default());
    let body = [KEEPALIVE, block].concat();
    stream.feed(&mut dialect, body.as_bytes(), &mut Vec::new());
    dialect
}

fn learned(block: &str) -> ResponsesDialect {
    learned_within(SseLimits::default(), block)
}

/// Whether what was learned of a block reads that block.
fn is_learned(block: &str) -> bool {
    let taken = learned(block).read_block(block.as_bytes(), &mut Vec::new());
    taken == Some(block.len())
}

#[test]
fn a_block_that_differs_in_text_number_and_padding_only_is_read() {
    let mut template = learned(&block(7, "Hello", "x"));
    for (number, written, text, padding) in [
        (8, "a", "a", "longer"),
        (0, "", "", ""),
        (u64::MAX / 2, r#"\n\"é\u00e9\ud83d\ude00"#, "\n\"éé😀", "é"),
        (
            1234567890123456789,
            "a text of more than 24 bytes that is held elsewhere",
            "a text of more than 24 bytes that is held elsewhere",
            "x",
        ),
    ] {
        let block = block(number, written, padding);
        let mut out = Vec::new();
        let taken = template.read_block(format!("{block}event: x").as_bytes(), &mut out);
        assert_eq!(taken, Some(block.len()));
        assert_eq!(template.answer.sequence_number, Some(number));
        assert_eq!(out, parsed(block.as_bytes()).0);
        assert!(matches!(&out[0], ResponseEvent::OutputTextDelta(event) if event.delta == text));
        let data = block
            .lines()
            .nth(1)
            .unwrap()
            .strip_prefix("data: ")
            .unwrap();
        let taken = template.repeat(data.as_bytes(), Form::Data, &mut out);
        assert_eq!((taken, &out[0]), (Some(data.len()), &out[1]));
        let longer = format!("{data} ");
        let taken = template.repeat(longer.as_bytes(), Form::Data, &mut out);
        assert_eq!(taken, None);
    }
}

#[test]
fn numbers_that_rise_and_others_are_read_as_they_are() {
    let jumps = [
        5,
        6,
        1_000_000,
        0,
        1,
        99,
        100,
        9,
        9,
        10,
        9_999_999_999_999_999_999,
    ];
    let blocks = [
        |number: u64| block(number, "a", "x"),
        |number: u64| {
            format!(
                "data: {{\"type\":\"response.refusal.delta\",\"delta\":\"a\",\"sequence_number\":{number},\"obfuscation\":\"x\"}}\n\n"
            )
        },
    ];
    for block in blocks {
        let mut template = learned(&block(8));
        for number in (9..=1_100).chain(jumps).chain(98..=101) {
            let block = block(number);
            let mut out = Vec::new();
            let taken = template.read_block(block.as_bytes(), &mut out);
            assert_eq!(taken, Some(block.len()));
            assert_eq!(template.answer.sequence_number, Some(number));
            assert_eq!(out, parsed(block.as_bytes()).0);
        }
    }
}

#[test]
fn every_kind_of_delta_is_learned() {
    for (kind, fields) in [
        ("output_text", r#""content_index":0,"delta":"a""#),
        ("refusal", r#""delta":"a","content_index":1"#),
        (
            "reasoning_summary_text",
            r#""delta":"a","summary_index":1,"obfuscation":"x""#,
        ),
        (
            "reasoning_text",
            r#""obfuscation":"x","delta":"a","content_index":1"#,
        ),
        (
            "function_call_arguments",
            r#""delta":"{\"a","output_index":1"#,
        ),
        ("custom_tool_call_input", r#""delta":"a","call_id":"c""#),
        ("mcp_call_arguments", r#""delta":"a""#),
    ] {
        let block = format!(
            "data: {{\"type\":\"response.{kind}.delta\",\"item_id\":\"i\",{fields},\"sequence_number\":3}}\r\n\r\n"
        );
        let mut template = learned(&block);
        let other = block.replace(":\"a", ":\"bcd").replace(":3}", ":44}");
        let mut out = Vec::new();
        assert!(
            template.read_block(other.as_bytes(), &mut out).is_some(),
            "{block}"
        );
        assert_eq!(out, parsed(other.as_bytes()).0);
    }
}

#[test]
fn whatever_differs_elsewhere_is_left_to_the_parser() {
    let block = block(7, "a", "x");
    let mut template = learned(&block);
    assert!(
        template
            .read_block(block.as_bytes(), &mut Vec::new())
            .is_some()
    );
    for (from, to) in [
        ("event: ", "id: 1\nevent: "),
        ("event: ", ": c\nevent: "),
        ("data: ", "data:"),
        ("msg_1", "msg_2"),
        (":7,", ":07,"),
        (":7,", ":7.0,"),
        (":7,", ":-7,"),
        (":7,", ":,"),
        (":7,", ":\"7\","),
        (":7,", ":18446744073709551616,"),
        ("\"a\"", "null"),
        ("\"a\"", "\"a\",\"delta\":\"b\""),
        ("\"a\"", "\"\\q\""),
        ("\"a\"", "\"\\ud83d\""),
        ("\"a\"", "\"\t\""),
        ("\"a\"", "\"a\ndata: b\""),
        ("\"x\"", "\"\\q\""),
        ("\"x\"", "\"\\\"\""),
        ("[]", "[1]"),
        ("}\n\n", "}\n"),
        ("}\n\n", "}\r\n\r\n"),
        ("}\n\n", "}\nid: 1\n\n"),
    ] {
        let other = block.replace(from, to);
        assert_ne!(other, block);
        let mut out = Vec::new();
        assert_eq!(
            template.read_block(other.as_bytes(), &mut out),
            None,
            "{other}"
        );
        assert_eq!(out, []);
    }
    let mut invalid = block.clone().into_bytes();
    let at = block.find("\"a\"").unwrap() + 1;
    invalid[at] = 0xff;
    assert_eq!(template.read_block(&invalid, &mut Vec::new()), None);
}

#[test]
fn only_a_plain_delta_in_a_plain_block_is_learned() {
    let plain = block(7, "a", "x");
    assert!(is_learned(&plain));
    for (from, to) in [
        ("[]", "[{\"token\":\"a\"}]"),
        (":7,", ":7.0,"),
        (":7,", ":\"7\","),
        ("\"a\"", "\"a\",\"delta\":\"b\""),
        (":7,", ":7,\"sequence_number\":8,"),
        ("\"delta\"", "\"d\\u0065lta\""),
        // The name of the event would count.
        ("\"type\"", "\"kind\""),
        ("\"a\"", "\"a\",\"type\":null"),
        ("\"a\"", "\"a\"\ndata: "),
        ("event: ", "id: 1\nevent: "),
        ("event: ", "event: x\nevent: "),
        ("event: ", "retry: 1\nevent: "),
        ("}\n\n", "}\nid: 1\n\n"),
        ("\n", "\r"),
    ] {
        let other = plain.replace(from, to);
        assert_ne!(other, plain);
        assert!(!is_learned(&other), "{other}");
    }
    for other in [
        KEEPALIVE,
        "data: {\"type\":\"response.created\",\"delta\":\"a\"}\n\n",
    ] {
        assert!(!is_learned(other));
    }
}

#[test]
fn a_block_above_the_limits_is_left_to_the_decoder() {
    let small = block(1, "a", "x");
    let limits = SseLimits {
        max_line_bytes: small.len(),
        max_event_bytes: usize::MAX,
    };
    let mut template = learned_within(limits, &small);
    let mut out = Vec::new();
    assert!(template.read_block(small.as_bytes(), &mut out).is_some());
    let large = block(1, "ab", "x");
    assert_eq!(template.read_block(large.as_bytes(), &mut out), None);
    assert_eq!(out.len(), 1);
}

#[test]
fn streams_that_repeat_nothing_are_soon_not_learned_from_but_looked_at_again() {
    let mut dialect = learned(KEEPALIVE);
    let mut stream = SseStream::new(SseLimits::default());
    let mut is_learned = |item: usize| {
        let block = block(7, "a", "x").replace("msg_1", &format!("msg_{item}"));
        stream.feed(&mut dialect, block.as_bytes(), &mut Vec::new());
        let address = &dialect.template.target.address;
        address.item_id.as_deref() == Some(&*format!("msg_{item}"))
    };
    let learned = (0..64).filter(|item| is_learned(*item)).count();
    assert_eq!(learned, MAX_UNUSED + 3);
}

#[test]
fn a_template_is_framed_as_the_first_whole_block_that_repeats_it() {
    for end in ["\n", "\r\n"] {
        let blocks = [
            "data:{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n".to_owned(),
            block(9, "a", "x"),
        ];
        for block in blocks {
            let block = block.replace('\n', end);
            let mut dialect = ResponsesDialect::new(SseLimits::default().into());
            let mut stream = SseStream::new(SseLimits::default());
            let mut feed = |dialect: &mut _, bytes: &[u8]| {
                stream.feed(dialect, bytes, &mut Vec::new());
            };
            for half in [&block[..20], &block[20..]] {
                feed(&mut dialect, half.as_bytes());
            }
            feed(&mut dialect, block.as_bytes());
            let taken = dialect.read_block(block.as_bytes(), &mut Vec::new());
            assert_eq!(taken, Some(block.len()), "{block}");
        }
    }
}

/// Blocks that are alike and not: every one follows every other below.
fn corpus() -> Vec<Vec<u8>> {
    let plain = block(7, "a", "x");
    let mut blocks = vec![
        plain.clone(),
        block(8, "b", "yy"),
        block(7, r"\n\u00e9", ""),
        block(10, r"half \ud83d", "x"),
        block(10, "a", r"\ud83d"),
        block(10, "a", r"\q"),
        block(10, "", "x"),
        block(10, "world 世界", "é"),
        KEEPALIVE.to_owned(),
        ": comment\n\n".to_owned(),
        "id: 7\n\n".to_owned(),
        "\n".to_owned(),
        "event: response.output_text.delta\n\n".to_owned(),
        "data: not JSON\n\n".to_owned(),
        "data: [DONE]\n\n".to_owned(),
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n".to_owned(),
        "data: {\"type\": \"response.output_text.delta\", \"delta\": \"a\", \"sequence_number\": 12}\n\n".to_owned(),
        "event: response.refusal.delta\ndata: {\"delta\":\"a\"}\n\n".to_owned(),
        "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n".to_owned(),
    ];
    for (from, to) in [
        ("msg_1", "msg_2"),
        ("output_text", "refusal"),
        (
            "type\":\"response.output_text",
            "type\":\"response.reasoning_text",
        ),
        (":7,", ":18446744073709551615,"),
        (":7,", ":00,"),
        (":7,", ":null,"),
        ("\"a\"", "7"),
        ("\"a\"", "\"a\",\"delta\":\"z\""),
        ("\"a\"", "\"a\",\"call_id\":\"c\""),
        ("[]", "[1]"),
        ("event: ", "id: 1\nevent: "),
        ("event: ", "event:"),
        ("data: ", "data:"),
        ("\n", "\r\n"),
        ("\n", "\r"),
        ("}\n\n", "}\n\r\n"),
        ("}\n\n", "}\n: c\n\n"),
        ("}\n\n", "} \n\n"),
        ("}\n\n", "}}\n\n"),
        ("}\n\n", "\n\n"),
        (",\"delta\"", "\ndata: ,\"delta\""),
    ] {
        blocks.push(plain.replace(from, to));
    }
    let mut blocks: Vec<_> = blocks.into_iter().map(String::into_bytes).collect();
    let mut invalid = plain.into_bytes();
    let at = invalid.len() - 6;
    invalid[at] = 0xff;
    blocks.push(invalid);
    blocks
}

#[test]
fn every_block_decodes_alike_after_every_other() {
    let blocks = corpus();
    for first in &blocks {
        for second in &blocks {
            let pair = [&first[..], second, first, second, second].concat();
            check(&[KEEPALIVE.as_bytes(), &pair].concat(), 100);
            check(&pair, pair.len() - 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Deltas of any text, some of them damaged, decode as the parser alone reads them.
    #[test]
    fn damaged_deltas_decode_alike(
        blocks in proptest::collection::vec(
            (
                prop_oneof![0u64..30, any::<u64>()],
                prop_oneof![4 => "[ -~é世]{0,6}", 1 => "(\\PC|\\\\[nu\"\\\\])*"],
                "[a-z]{0,9}",
                prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(mutation(), 1..3)],
            ),
            1..8,
        ),
        frame in 0usize..3,
        chunk_bytes in 1usize..600,
    ) {
        let mut body = KEEPALIVE.as_bytes().to_vec();
        for (number, text, padding, mutations) in &blocks {
            let mut block = block(*number, text, padding);
            if frame == 1 {
                block = block.replace('\n', "\r\n");
            }
            if frame == 2 {
                block = block.lines().skip(1).map(|line| format!("{line}\n")).collect();
            }
            let mut block = block.into_bytes();
            mutations.iter().for_each(|mutation| mutate(&mut block, mutation));
            body.extend(block);
        }
        check(&body, chunk_bytes);
    }
}

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::{
    sse::{SseDecoder, SseLimits},
    wire::{
        StreamDecoder, Wire,
        damage::{mutate, mutation},
    },
};

type Decoded = (Vec<ResponseEvent>, Option<Terminal>, StreamAnomalies, u64);

/// Decodes each event from its parsed JSON alone: no chunk is a template for another.
fn parsed(body: &[u8]) -> Decoded {
    let mut dialect = ChatDialect::default();
    let (mut events, mut terminal, mut count) = (Vec::new(), None, 0);
    SseDecoder::new(SseLimits::default())
        .feed(body, |event| {
            count += 1;
            dialect.template = Template::default();
            match dialect.on_event(event, &mut events) {
                Step::Continue | Step::Finishing => ControlFlow::Continue(()),
                Step::End(end) => {
                    terminal = Some(end);
                    ControlFlow::Break(())
                }
            }
        })
        .unwrap();
    (events, terminal, dialect.anomalies().clone(), count)
}

fn decoded(body: &[u8], chunk_bytes: usize) -> Decoded {
    let mut decoder = StreamDecoder::new(Wire::Chat, SseLimits::default());
    let mut events = Vec::new();
    let terminal = body
        .chunks(chunk_bytes.max(1))
        .find_map(|chunk| decoder.feed(chunk, &mut events));
    let anomalies = decoder.anomalies().clone();
    (events, terminal, anomalies, decoder.events())
}

fn check(body: &[u8], chunk_bytes: usize) {
    let expected = parsed(body);
    for chunk_bytes in [body.len(), chunk_bytes] {
        let body_text = body.escape_ascii();
        assert_eq!(
            decoded(body, chunk_bytes),
            expected,
            "in {chunk_bytes}: {body_text}"
        );
    }
}

fn block(text: &str, padding: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"{padding}\"}}\n\n"
    )
}

#[test]
fn every_chunk_decodes_alike_after_every_other() {
    let plain = block("a", "x");
    let mut blocks = vec![
        plain.clone(),
        block("b", ""),
        block("", "x"),
        block(r"\n\u00e9", "é"),
        block(r"\ud83d", "x"),
        block("a", r"\q"),
        block("a", r"\n"),
        ": comment\n\n".to_owned(),
        "\n".to_owned(),
        "id: 1\n\n".to_owned(),
        "data: {}\n\n".to_owned(),
    ];
    for (from, to) in [
        ("data: ", "data:"),
        ("data: ", "data:  "),
        ("data: ", "event: error\ndata: "),
        ("data: ", "event: x\ndata: "),
        ("\n\n", "\r\n\r\n"),
        ("\n\n", "\r\r"),
        ("\n\n", "\nid: 1\n\n"),
        (",\"usage\"", "\ndata: ,\"usage\""),
        (",\"usage\"", "\n,\"usage\""),
        ("null}]", "\"stop\"}]"),
        ("null}]", "\"length\"}]"),
        ("index\":0", "index\":1"),
        ("content", "reasoning"),
        ("\"c\"", "\"d\""),
        ("usage\":null", "usage\":{\"total_tokens\":1}"),
    ] {
        blocks.push(plain.replace(from, to));
    }
    for first in &blocks {
        for second in &blocks {
            let body = [&plain, first, second, first, second, second]
                .map(|block| &**block)
                .concat();
            check(body.as_bytes(), 100);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn damaged_chunks_decode_alike(
        blocks in proptest::collection::vec(
            (
                prop_oneof![4 => "[ -~é世]{0,6}", 1 => "(\\PC|\\\\[nu\"\\\\])*"],
                "[a-z]{0,9}",
                prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(mutation(), 1..3)],
            ),
            1..8,
        ),
        has_crlf: bool,
        chunk_bytes in 1usize..600,
    ) {
        let mut body = Vec::new();
        for (text, padding, mutations) in &blocks {
            let mut block = block(text, padding);
            if has_crlf {
                block = block.replace('\n', "\r\n");
            }
            let mut block = block.into_bytes();
            mutations.iter().for_each(|mutation| mutate(&mut block, mutation));
            body.extend(block);
        }
        check(&body, chunk_bytes);
    }
}

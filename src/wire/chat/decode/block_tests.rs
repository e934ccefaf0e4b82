use proptest::prelude::*;

use super::*;
use crate::wire::{
    Wire,
    equivalence::{self, mutate, mutation, parsed},
};

/// Decoding gives what each event says whose parsed JSON alone counts: no chunk is a template for another.
fn check(body: &[u8], chunk_bytes: usize) {
    let forget = |dialect: &mut ChatDialect| dialect.template = Template::default();
    let parsed = parsed(ChatDialect::default(), forget, body);
    equivalence::check(Wire::Chat, body, chunk_bytes, &parsed);
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

//! Blocks, however the bytes are cut.

use proptest::prelude::*;

use super::*;
use crate::wire::{
    StreamLimits, Wire,
    joining::{delta_of, join_last},
};

type Read = (Vec<(String, usize)>, Vec<ResponseEvent>, Option<Terminal>);

/// The blocks of chunks, the events, and the end.
fn read_with(wire: Wire, limits: StreamLimits, chunks: &[Bytes]) -> (Blocks, Read) {
    let reader = BlockReader::new(limits.sse, 1);
    read_by(reader, StreamDecoder::new(wire, limits), chunks)
}

fn read_by(
    mut reader: BlockReader,
    mut decoder: StreamDecoder,
    chunks: &[Bytes],
) -> (Blocks, Read) {
    let mut events = Vec::new();
    let end = chunks
        .iter()
        .find_map(|chunk| reader.feed(&mut decoder, chunk, &mut events));
    let end = end.or_else(|| reader.end_of_stream(&mut decoder, &mut events));
    let blocks = reader.take();
    let of_run = |run: &Run| -> Vec<_> {
        let parts = run.parts();
        let text = |range| String::from_utf8(run.bytes.slice(range).to_vec()).unwrap();
        parts.map(|(range, event)| (text(range), event)).collect()
    };
    let texts = blocks.runs.iter().flat_map(of_run).collect();
    (blocks, (texts, events, end))
}

fn read(wire: Wire, chunks: &[&str]) -> Vec<String> {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| Bytes::copy_from_slice(chunk.as_bytes()))
        .collect();
    let (_, (blocks, ..)) = read_with(wire, StreamLimits::default(), &chunks);
    blocks.into_iter().map(|(block, _)| block).collect()
}

fn cut(text: &str, bytes: usize) -> Vec<Bytes> {
    let chunks = text.as_bytes().chunks(bytes.max(1));
    chunks.map(Bytes::copy_from_slice).collect()
}

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
const COMPLETED: &str = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\"}}\n\n";

fn delta(text: &str) -> String {
    format!(
        "data: {{\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"{text}\"}}\n\n"
    )
}

#[test]
fn a_block_that_lies_whole_in_a_chunk_is_no_copy() {
    let stream =
        Bytes::from([CREATED, &delta("a"), ": ping\n\n", &delta("b"), &delta("c")].concat());
    let (blocks, _) = read_with(
        Wire::Responses,
        StreamLimits::default(),
        std::slice::from_ref(&stream),
    );
    let within = stream.as_ptr_range();
    assert_eq!(blocks.runs.len(), 2, "the comment parts them");
    for run in &blocks.runs {
        let range = run.bytes.as_ptr_range();
        assert!(within.start <= range.start && range.end <= within.end);
    }
    let counts: Vec<_> = blocks.runs.iter().map(|run| run.blocks.len()).collect();
    assert_eq!(counts, [2, 2]);
}

#[test]
fn a_block_that_is_cut_over_chunks_is_joined_once_and_the_next_are_slices() {
    let text = [&delta("a")[..], &delta("b"), &delta("c")].concat();
    let stream = Bytes::from(text.clone());
    let chunks = [stream.slice(..20), stream.slice(20..)];
    let (blocks, (read, ..)) = read_with(Wire::Responses, StreamLimits::default(), &chunks);
    let read: String = read.into_iter().map(|(block, _)| block).collect();
    assert_eq!(read, text);
    let within = stream.as_ptr_range();
    let copies = blocks
        .runs
        .iter()
        .map(|run| !within.contains(&run.bytes.as_ptr()));
    assert_eq!(copies.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_block_without_data_is_left_out_and_what_gave_no_event_is_not() {
    let done = "data: [DONE]\n\n";
    for (stream, expected) in [
        (": ping\n\n", &[][..]),
        ("event: ping\n\n", &[]),
        ("id: 1\nretry: 5\n\n", &[]),
        ("data:\n\n", &[]),
        ("event: x\ndata: \n\n", &[]),
        ("data\n\n", &[]),
        ("\n\n\n", &[]),
        (": a comment\ndata: {}\n\n", &[": a comment\ndata: {}\n\n"]),
        ("data: no json\n\n", &["data: no json\n\n"]),
        (
            "data: {\"type\":\"keepalive\"}\n\n",
            &["data: {\"type\":\"keepalive\"}\n\n"],
        ),
        ("data: {}{}\n\n", &["data: {}{}\n\n"]),
        (
            "data: {}\n\n\ndata: []\n\n",
            &["data: {}\n\n", "data: []\n\n"],
        ),
        (
            "id: 7\ndata: {\ndata: }\n\n",
            &["id: 7\ndata: {\ndata: }\n\n"],
        ),
    ] {
        for bytes in 1..=stream.len() {
            let chunks = cut(stream, bytes);
            let (_, (blocks, ..)) = read_with(Wire::Responses, StreamLimits::default(), &chunks);
            let blocks: Vec<_> = blocks.into_iter().map(|(block, _)| block).collect();
            assert_eq!(blocks, expected, "{stream:?} at {bytes}");
        }
    }
    let chat =
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(read(Wire::Chat, &[chat, done]), [chat, done]);
}

#[test]
fn an_empty_line_that_was_forgotten_is_added() {
    for (stream, expected) in [
        (
            "event: a\ndata: {}\nevent: b\ndata: {}\n\n",
            &["event: a\ndata: {}\n\n", "event: b\ndata: {}\n\n"][..],
        ),
        (
            "data: {}\ndata: {}\ndata: [DONE]\n\n",
            &["data: {}\n\n", "data: {}\n\n", "data: [DONE]\n\n"],
        ),
        (
            "data: {}\r\ndata: {}\r\n\r\n",
            &["data: {}\r\n\r\n", "data: {}\r\n\r\n"],
        ),
    ] {
        for bytes in 1..=stream.len() {
            let chunks = cut(stream, bytes);
            // Of Chat, whose end [DONE] is, the blocks are the same.
            let (_, (blocks, ..)) = read_with(Wire::Chat, StreamLimits::default(), &chunks);
            let blocks: Vec<_> = blocks.into_iter().map(|(block, _)| block).collect();
            assert_eq!(blocks, expected, "{stream:?} at {bytes}");
        }
    }
}

#[test]
fn a_last_block_gets_its_empty_line_if_its_data_is_whole() {
    for (last, expected) in [
        ("data: {\"a\":{}}", Some("data: {\"a\":{}}\n\n")),
        ("data: {\"a\":{}}\n", Some("data: {\"a\":{}}\n\n")),
        ("id: 1\r\ndata: []\r\n", Some("id: 1\r\ndata: []\r\n\r\n")),
        ("data: [DONE]", Some("data: [DONE]\n\n")),
        ("data: {\"a\":{}", None),
        ("data: ", None),
        (": comment", None),
        ("dat", None),
    ] {
        for bytes in [1, 7, 1_000] {
            let stream = [CREATED, last].concat();
            let chunks = cut(&stream, bytes);
            let (_, (blocks, ..)) = read_with(Wire::Responses, StreamLimits::default(), &chunks);
            let rest = blocks.get(1).map(|(block, _)| &**block);
            assert_eq!(rest, expected, "{last:?}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_left_out() {
    let stream = ["\u{feff}", CREATED, &delta("a")].concat();
    for bytes in 1..=stream.len() {
        let chunks = cut(&stream, bytes);
        let (_, (blocks, ..)) = read_with(Wire::Responses, StreamLimits::default(), &chunks);
        let blocks: String = blocks.into_iter().map(|(block, _)| block).collect();
        assert_eq!(blocks, [CREATED, &delta("a")].concat(), "at {bytes}");
    }
}

#[test]
fn nothing_behind_the_terminal_event_is_given() {
    let stream = [CREATED, COMPLETED, &delta("late"), COMPLETED].concat();
    for bytes in [1, 7, stream.len()] {
        let chunks = cut(&stream, bytes);
        let (_, (blocks, events, end)) =
            read_with(Wire::Responses, StreamLimits::default(), &chunks);
        assert!(matches!(end, Some(Terminal::Completed(_))));
        let (texts, numbers): (String, Vec<_>) = blocks.into_iter().unzip();
        assert_eq!(texts, [CREATED, COMPLETED].concat());
        assert_eq!(numbers.last(), Some(&events.len()), "it goes with the end");
    }
}

#[test]
fn a_block_and_what_waits_for_an_event_have_limits() {
    let mut limits = StreamLimits::default();
    (limits.sse.max_line_bytes, limits.sse.max_event_bytes) = (40, 60);
    let comments = ": c\n".repeat(26);
    let waiting = "data: [1]\n\n".repeat(6);
    for stream in [comments, waiting] {
        let (_, (_, _, end)) = read_with(Wire::Chat, limits, &cut(&stream, 11));
        let Some(Terminal::Failed(error)) = end else {
            panic!("{end:?}")
        };
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

fn texts_of(blocks: &[(String, usize)]) -> Vec<String> {
    blocks.iter().map(|(text, _)| text.clone()).collect()
}

/// All neighbours that may be one are one.
fn all_joined(events: Vec<ResponseEvent>) -> Vec<ResponseEvent> {
    let mut joined = Vec::new();
    for event in events {
        joined.push(event);
        join_last(&mut joined);
    }
    joined
}

#[test]
fn deltas_that_were_read_together_are_one_event_where_that_is_asked_for() {
    let chat = |text: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let said = |deltas: &dyn Fn(&str) -> String| ["a", "b", "\u{e9}\\n", "c"].map(deltas).concat();
    for (wire, first, stream) in [
        (Wire::Responses, CREATED, said(&delta)),
        (Wire::Chat, "", said(&chat)),
    ] {
        let chunks =
            [&[first, &stream].concat()[..], &stream].map(|text| Bytes::from(text.to_owned()));
        let limits = StreamLimits::default();
        let reader = BlockReader::new(limits.sse, 1).joining(true);
        let (_, (blocks, mut events, _)) =
            read_by(reader, StreamDecoder::new(wire, limits), &chunks);
        assert_eq!(
            texts_of(&blocks).concat(),
            [first, &stream, &stream].concat()
        );
        let texts = events.iter_mut().filter_map(delta_of);
        // The first is read by the parser.
        let texts: Vec<_> = texts.map(|text| text.to_string()).collect();
        assert_eq!(texts[..3], ["a", "b\u{e9}\nc", "ab\u{e9}\nc"]);
        let with: Vec<_> = blocks.iter().map(|(_, event)| *event).collect();
        let start = with.len() - 8;
        let first = with[start];
        let behind = [0, 1, 1, 1, 2, 2, 2, 2].map(|more| first + more);
        assert_eq!(with[start..], behind);
    }
}

/// A block, and what is given of it.
fn piece() -> impl Strategy<Value = (String, Option<String>)> {
    let kept = |block: String| (block.clone(), Some(block));
    let ended = |lines: &str, end: &str| format!("{lines}\n\n").replace('\n', end);
    let end = prop::sample::select(&["\n", "\r\n", "\r"][..]);
    let text =
        prop::sample::select(&["a", "\u{e9}\u{1f600}", "a \\n b", "{}", "data: {", "[DONE]"][..]);
    prop_oneof![
        4 => (text, end.clone()).prop_map(move |(text, end)| kept(ended(delta(text).trim_end(), end))),
        1 => end.clone().prop_map(move |end| kept(ended(CREATED.trim_end(), end))),
        1 => end.clone().prop_map(move |end| kept(ended(": c\nid: 3\ndata: {\ndata: }", end))),
        1 => end.clone().prop_map(move |end| kept(ended("data: words", end))),
        1 => (prop::sample::select(&[": c", "event: x", "id: 4", "data: ", "strange: x"][..]), end)
            .prop_map(move |(lines, end)| (ended(lines, end), None)),
    ]
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_blocks_and_events(
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(1usize..90, 1..40),
        is_ended: bool,
    ) {
        let mut stream: String = pieces.iter().map(|(block, _)| &**block).collect();
        let mut expected: Vec<_> = pieces.iter().filter_map(|(_, kept)| kept.clone()).collect();
        if is_ended {
            stream.push_str(COMPLETED);
            expected.push(COMPLETED.to_owned());
        }
        // An LF after a block that ended in CR is of its line end.
        prop_assume!(!stream.contains("\r\r\n"));
        let stream = Bytes::from(stream);
        let (mut at, mut chunks) = (0, Vec::new());
        for cut in cuts.iter().cycle() {
            if at == stream.len() {
                break;
            }
            let end = stream.len().min(at + cut);
            chunks.push(stream.slice(at..end));
            at = end;
        }
        let limits = StreamLimits::default();
        let (_, (blocks, events, end)) = read_with(Wire::Responses, limits, &chunks);
        let joining = BlockReader::new(limits.sse, 1).joining(true);
        let (_, (joined_blocks, joined_events, joined_end)) =
            read_by(joining, StreamDecoder::new(Wire::Responses, limits), &chunks);
        let joined_texts = joined_blocks.iter().map(|(text, _)| text.clone());
        prop_assert_eq!(joined_texts.collect::<Vec<_>>(), texts_of(&blocks));
        prop_assert_eq!(all_joined(joined_events), all_joined(events.clone()));
        prop_assert!(joined_blocks.is_sorted_by_key(|(_, event)| *event));
        prop_assert_eq!(format!("{joined_end:?}"), format!("{end:?}"));
        let (_, (whole_blocks, whole_events, whole_end)) = read_with(Wire::Responses, limits, std::slice::from_ref(&stream));
        prop_assert_eq!(&texts_of(&blocks), &expected);
        prop_assert_eq!(&blocks, &whole_blocks);
        prop_assert_eq!(&events, &whole_events);
        prop_assert_eq!(format!("{end:?}"), format!("{whole_end:?}"));
        // Those of a decoder alone.
        let mut decoder = StreamDecoder::new(Wire::Responses, limits);
        let mut plain = Vec::new();
        let plain_end = decoder.feed(&stream, &mut plain);
        let plain_end = plain_end.or_else(|| decoder.end_of_stream(&mut plain));
        prop_assert_eq!(&events, &plain);
        prop_assert_eq!(format!("{end:?}"), format!("{plain_end:?}"));
    }

    #[test]
    fn any_bytes_give_the_events_of_a_decoder_alone(
        lines in prop::collection::vec(prop::sample::select(&[
            "data: {\"type\":\"x\"}", "event: x", "data: {", "data: }", "}", "\"a\": 1", ": c", "id: 1", "", "",
            "words", "data: [DONE]", "error: {}", "data:{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}", "\u{feff}",
        ][..]), 0..30),
        ends in prop::collection::vec(prop::sample::select(&["\n", "\r\n", "\r"][..]), 30),
        bytes in 1usize..40,
    ) {
        let stream: String = lines.iter().zip(&ends).map(|(line, end)| [*line, *end].concat()).collect();
        let limits = StreamLimits::default();
        let (_, (_, events, end)) = read_with(Wire::Responses, limits, &cut(&stream, bytes));
        let mut decoder = StreamDecoder::new(Wire::Responses, limits);
        let mut plain = Vec::new();
        let plain_end = decoder.feed(stream.as_bytes(), &mut plain);
        let plain_end = plain_end.or_else(|| decoder.end_of_stream(&mut plain));
        prop_assert_eq!(&events, &plain);
        prop_assert_eq!(format!("{end:?}"), format!("{plain_end:?}"));
    }
}

#[test]
fn what_a_body_repeats_that_goes_on_is_left_out_and_nothing_that_says_more() {
    let numbered = |number: u64, event: String| {
        let rest = event.strip_prefix("data: {").expect("an event");
        format!("data: {{\"sequence_number\":{number},{rest}")
    };
    let created = numbered(0, CREATED.split_once('\n').expect("two lines").1.to_owned());
    let whole =
        "data: {\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\",\"output\":[]}\n\n";
    let cut = whole.replace("completed", "incomplete");
    let note = "data: {\"type\":\"strange\",\"note\":1}\n\n";
    let late = numbered(9, delta("z"));
    let [a, b, c] = ["a", "b", "c"].map(delta);
    let (a, b, c) = (numbered(1, a), numbered(2, b), numbered(3, c));
    let cases: [(Vec<&str>, Vec<&str>); 8] = [
        (vec![&c], vec![&c]),
        (vec![&created, &a, &b, &c], vec![&c]),
        (vec![whole], vec![whole]),
        (vec![&a, &b, whole], vec![whole]),
        (vec![&cut], vec![&cut]),
        (vec![note, &b, &c], vec![note, &c]),
        (vec![note, &b, whole], vec![note, whole]),
        (vec![&b, &late], vec![]),
    ];
    for (body, expected) in cases {
        for bytes in [1, 7, 1_000] {
            let limits = StreamLimits::default();
            let mut decoder = StreamDecoder::new(Wire::Responses, limits);
            decoder.set_resumable();
            let mut events = Vec::new();
            let before = [&*created, &a, &b].concat();
            assert!(decoder.feed(before.as_bytes(), &mut events).is_none());
            decoder.resume(limits.sse);
            let mut reader = BlockReader::new(limits.sse, 1);
            let chunks = self::cut(&body.concat(), bytes);
            let end = { chunks.iter() }.find_map(|it| reader.feed(&mut decoder, it, &mut events));
            let is_whole = body.last() == Some(&whole);
            assert_eq!(
                matches!(end, Some(Terminal::Completed(_))),
                is_whole,
                "{end:?}"
            );
            let blocks = reader.take();
            let of_run = |run: &Run| -> Vec<_> {
                let parts = run.parts();
                parts.map(|(range, _)| run.bytes.slice(range)).collect()
            };
            let found: Vec<_> = blocks.runs.iter().flat_map(of_run).collect();
            assert_eq!(found, expected, "{body:?} at {bytes}");
        }
    }
}

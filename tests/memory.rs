//! What is read takes memory in proportion to its text, whatever stands in it.
//!
//! A process has one peak, so this is one test, in a process of its own.

use std::fs;

use actix_responses::{
    ErrorKind,
    protocol::{CompactionOutput, ModelList, RawJson, ResponseItem},
    wire::{StreamDecoder, StreamLimits, Wire},
};

/// Of a whole answer: what is accepted is a little more.
const ANSWER_BYTES: usize = 60_000_000;
/// Of one that is refused.
const REFUSED_BYTES: usize = 4_000_000;
/// What an answer may take at its peak, its text included: its text once more and its items, whose strings are there twice while they are
/// read, and [`RawJson::MAX_TREE_BYTES`].
const MOST: usize = 5;

/// Bytes of a line of what Linux tells of this process. Elsewhere nothing is known, and nothing of it is checked.
fn held(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| {
        number.parse::<usize>().expect("kilobytes") * 1024
    })
}

/// The most that is held while something is read, beyond what is held when it begins.
fn peak_of<T>(read: impl FnOnce() -> T) -> (T, usize) {
    // Where it can't be done the peak is that of all before, which is the stricter figure.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = held("VmRSS:");
    let read = read();
    (read, held("VmHWM:").saturating_sub(before))
}

fn list(element: &str, bytes: usize) -> String {
    let mut elements = format!("{element},").repeat(bytes / (element.len() + 1));
    elements.pop();
    format!("[{elements}]")
}

#[test]
fn a_text_takes_a_few_times_its_size() {
    const MESSAGE: &str =
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"hello"}]}"#;
    let sealed = |bytes: usize| {
        format!(
            r#"{{"type":"compaction","encrypted_content":"{}"}}"#,
            "[{a,".repeat(bytes / 4)
        )
    };
    let with_extra = |element: &str, bytes| {
        let extra = list(element, bytes);
        format!(r#"[{{"type":"message","role":"user","content":"a","x":{extra}}}]"#)
    };
    let parts = |bytes| {
        let parts = list(r#"{"type":"input_text","text":"a"}"#, bytes);
        format!(r#"[{{"type":"message","role":"user","content":{parts}}}]"#)
    };
    // As many as there may be, and long texts beside them.
    let beside = |items: &str| {
        format!(
            "{},{}]",
            &items[..items.len() - 1],
            sealed(ANSWER_BYTES - items.len())
        )
    };
    let usual = MESSAGE.replace("hello", &"a, {b} ".repeat(ANSWER_BYTES / 7 / 10_000));
    for (what, items, is_read) in [
        ("empty items", list("{}", REFUSED_BYTES), false),
        ("small items", list(MESSAGE, REFUSED_BYTES), false),
        ("parts", parts(REFUSED_BYTES), false),
        ("numbers", with_extra("0", REFUSED_BYTES), false),
        (
            "objects in objects",
            with_extra(r#"{"a":{"a":{"a":0}}}"#, REFUSED_BYTES),
            false,
        ),
        ("some empty items", beside(&list("{}", 150_000)), true),
        ("some numbers", beside(&with_extra("0", 600_000)), true),
        (
            "some objects",
            beside(&with_extra(r#"{"a":{"a":{"a":0}}}"#, 370_000)),
            true,
        ),
        ("some parts", beside(&parts(1_200_000)), true),
        (
            "two large items",
            format!("[{0},{0}]", sealed(ANSWER_BYTES / 2)),
            true,
        ),
        ("ten thousand items", list(&usual, ANSWER_BYTES), true),
    ] {
        let text = format!(r#"{{"object":"response.compaction","output":{items}}}"#);
        drop(items);
        let (read, peak) = peak_of(|| CompactionOutput::from_json(&text));
        let peak = peak + text.len();
        assert!(
            peak < MOST * text.len(),
            "{what}: {peak} bytes for {}",
            text.len()
        );
        match read {
            Ok(_) => assert!(is_read, "{what}"),
            Err(error) => {
                assert!(!is_read, "{what}: {error}");
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{what}");
                assert!(
                    error.message().contains("RawJson::MAX_TREE_BYTES"),
                    "{error}"
                );
            }
        }
    }

    let text = list("{}", REFUSED_BYTES);
    let (read, peak) = peak_of(|| RawJson::elements(&text));
    let said = read.expect_err("too many").to_string();
    assert!(said.contains("RawJson::MAX_TREE_BYTES"), "{said}");
    assert!(peak < text.len(), "a list: {peak} bytes for {}", text.len());

    let raw = with_extra("0", REFUSED_BYTES);
    let raw = RawJson::parse(&raw[1..raw.len() - 1]).expect("an item");
    let (item, peak) = peak_of(|| ResponseItem::from_raw(raw.clone()));
    assert_eq!(item, ResponseItem::Unknown(raw.clone()));
    assert!(
        peak < raw.get().len(),
        "an item: {peak} bytes for {}",
        raw.get().len()
    );

    for text in [
        list(r#"{"id":"a"}"#, REFUSED_BYTES),
        format!(r#"[{{"id":"a","created":{}}}]"#, list("0", REFUSED_BYTES)),
    ] {
        let (_, peak) = peak_of(|| ModelList::from_json(&text, None));
        assert!(
            peak < MOST * text.len(),
            "models: {peak} bytes for {}",
            text.len()
        );
    }

    let values = list(r#"{"a":0}"#, REFUSED_BYTES);
    let delta = |members: &str| {
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"a",{members}}}}}]}}"#)
    };
    let choice = r#"{"index":0,"delta":{"content":"a"}"#;
    for (what, event) in [
        ("annotations", delta(&format!(r#""annotations":{values}"#))),
        ("images", delta(&format!(r#""images":{values}"#))),
        (
            "signatures",
            delta(&format!(r#""extra_content":{{"x":{values}}}"#)),
        ),
        (
            "details",
            delta(&format!(r#""reasoning_details":{values}"#)),
        ),
        (
            "log probabilities",
            format!(r#"{{"choices":[{choice},"logprobs":{{"content":{values}}}}}]}}"#),
        ),
        (
            "a failure",
            format!(r#"{{"success":false,"choices":[{choice}}}],"x":{values}}}"#),
        ),
    ] {
        let text = format!("data: {event}\n\n");
        let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
        let mut events = Vec::new();
        let (_, peak) = peak_of(|| decoder.feed(text.as_bytes(), &mut events));
        let peak = peak + text.len();
        // The event is there as it came, too.
        assert!(
            peak < (MOST + 2) * text.len(),
            "{what}: {peak} bytes for {}",
            text.len()
        );
    }
}

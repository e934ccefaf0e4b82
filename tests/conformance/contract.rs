//! The inputs of LaunchDarkly's SSE contract tests (github.com/launchdarkly/sse-contract-tests, folder `ssetests`) and what they
//! must give, in a table of our own.
//!
//! Each case is also decoded whole, byte by byte and in pairs of bytes. Left out is what is about clients and not about
//! decoding: methods, headers and bodies of requests, statuses, redirects, restarts and reconnecting. Of reconnecting there
//! remains which ID would be sent.

use std::iter;

use crate::{Event, decode};

struct Case {
    name: String,
    chunks: Vec<Vec<u8>>,
    events: Vec<Event>,
    comments: u64,
    last_event_id: &'static str,
}

fn case(name: &str, chunks: &[&str], events: &[Event]) -> Case {
    Case {
        name: name.to_owned(),
        chunks: chunks
            .iter()
            .map(|chunk| chunk.as_bytes().to_vec())
            .collect(),
        events: events.to_vec(),
        comments: 0,
        last_event_id: "",
    }
}

fn event(kind: &str, data: &str, id: &str) -> Event {
    (kind.to_owned(), data.to_owned(), id.to_owned())
}

fn message(data: &str) -> Event {
    event("message", data, "")
}

impl Case {
    fn comments(mut self, count: u64) -> Self {
        self.comments = count;
        self
    }

    fn last_event_id(mut self, id: &'static str) -> Self {
        self.last_event_id = id;
        self
    }
}

fn basic_parsing() -> Vec<Case> {
    let many: Vec<_> = (0..100).map(|n| format!("message {n}")).collect();
    let many_sent: String = many
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    let many_events: Vec<_> = many.iter().map(|data| message(data)).collect();
    vec![
        case(
            "one-line message in one chunk",
            &["data: Hello\n\n"],
            &[message("Hello")],
        ),
        case(
            "one-line message in two chunks",
            &["data: Hel", "lo\n\n"],
            &[message("Hello")],
        ),
        case(
            "two one-line messages in one chunk",
            &["data: Hello\n\ndata: World\n\n"],
            &[message("Hello"), message("World")],
        ),
        case(
            "one two-line message in one chunk",
            &["data: Hello\ndata:World\n\n"],
            &[message("Hello\nWorld")],
        ),
        case("empty data", &["data:\n\n"], &[message("")]),
        case(
            "event with specific type",
            &["event: greeting\ndata: Hello\n\n"],
            &[event("greeting", "Hello", "")],
        ),
        case(
            "default event type",
            &["data: Hello\n\n"],
            &[event("message", "Hello", "")],
        ),
        case(
            "event with ID",
            &["id: abc\ndata: Hello\n\n"],
            &[event("message", "Hello", "abc")],
        )
        .last_event_id("abc"),
        case(
            "event with type and ID",
            &["event: greeting\nid: abc\ndata: Hello\n\n"],
            &[event("greeting", "Hello", "abc")],
        )
        .last_event_id("abc"),
        case(
            "ID field is ignored if it contains a null",
            &["id: a\0bc\ndata: Hello\n\n"],
            &[message("Hello")],
        ),
        case(
            "last ID persists if not overridden by later event",
            &["id: abc\ndata: first\n\n", "data: second\n\n"],
            &[
                event("message", "first", "abc"),
                event("message", "second", "abc"),
            ],
        )
        .last_event_id("abc"),
        case(
            "last ID can be overridden by an empty value",
            &["id: abc\ndata: first\n\n", "id: \ndata: second\n\n"],
            &[event("message", "first", "abc"), message("second")],
        ),
        case(
            "fields in reverse order",
            &["data: Hello\nid: abc\nevent: greeting\n\n"],
            &[event("greeting", "Hello", "abc")],
        )
        .last_event_id("abc"),
        case(
            "unknown field is ignored",
            &["event: greeting\ncolor: blue\ndata: Hello\n\n"],
            &[event("greeting", "Hello", "")],
        ),
        case(
            "fields without leading space",
            &["event:greeting\ndata:Hello\n\n"],
            &[event("greeting", "Hello", "")],
        ),
        case(
            "fields with extra leading space",
            &["event:  greeting\ndata:  Hello\n\n"],
            &[event(" greeting", " Hello", "")],
        ),
        case(
            "field with no colon",
            &["data\n\ndata\ndata\n\n"],
            &[message(""), message("\n")],
        ),
        case(
            "multi-byte characters",
            &["data: €豆腐\n\n"],
            &[message("€豆腐")],
        ),
        case(
            "many messages in rapid succession",
            &[&many_sent],
            &many_events,
        ),
    ]
}

fn comments() -> Vec<Case> {
    vec![
        case("single comment", &[":Hello\n"], &[]).comments(1),
        case("two comments in a row", &[":Hello\n", ":World\n"], &[]).comments(2),
        case(
            "comment before event",
            &[":Hello\n", "data: Hello\n\n"],
            &[message("Hello")],
        )
        .comments(1),
        case(
            "comment after event",
            &["data: Hello\n\n", ":Hello\n"],
            &[message("Hello")],
        )
        .comments(1),
    ]
}

fn line_ends() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, end) in [("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r")] {
        let table: [(&str, &str, &[&str]); 6] = [
            ("one-line event", "data: event 1||", &["event 1"]),
            (
                "one-line event + two-line event",
                "data: event 1||data: event 2 line 1|data: event 2 line 2||",
                &["event 1", "event 2 line 1\nevent 2 line 2"],
            ),
            (
                "3-line event with empty line at beginning",
                "data:|data: line2|data: line3||",
                &["\nline2\nline3"],
            ),
            (
                "3-line event with empty line in middle",
                "data: line1|data:|data: line3||",
                &["line1\n\nline3"],
            ),
            (
                "ignores 1 extra empty line",
                "data: event 1|||data: event 2||",
                &["event 1", "event 2"],
            ),
            (
                "ignores 2 extra empty lines",
                "data: event 1||||data: event 2||",
                &["event 1", "event 2"],
            ),
        ];
        for (what, body, data) in table {
            let events: Vec<_> = data.iter().map(|data| message(data)).collect();
            cases.push(case(
                &format!("{name} separator: {what}"),
                &[&body.replace('|', end)],
                &events,
            ));
        }
    }
    cases.push(case(
        "CRLF where CR is end of 1 chunk",
        &[
            "data: Hello\r",
            "\ndata: World\r",
            "\n\r\ndata: OK\r",
            "\n",
            "\r",
            "\n",
        ],
        &[message("Hello\nWorld"), message("OK")],
    ));
    cases
}

fn byte_order_marks() -> Vec<Case> {
    let bom = "\u{feff}";
    let mut split = case(
        "BOM split across first two chunks",
        &[],
        &[message("Hello")],
    );
    split.chunks = vec![b"\xEF\xBB".to_vec(), b"\xBFdata: Hello\n\n".to_vec()];
    let mut bytes = case(
        "BOM split byte by byte across chunks",
        &[],
        &[message("Hello")],
    );
    bytes.chunks = vec![
        b"\xEF".to_vec(),
        b"\xBB".to_vec(),
        b"\xBF".to_vec(),
        b"data: Hello\n\n".to_vec(),
    ];
    let one =
        |name: &str, body: &str, events: &[Event]| case(name, &[&body.replace("BOM", bom)], events);
    vec![
        one(
            "BOM at start of stream is stripped",
            "BOMdata: Hello\n\n",
            &[message("Hello")],
        ),
        one(
            "BOM stripped before first event with type and ID",
            "BOMevent: greeting\nid: abc\ndata: Hello\n\n",
            &[event("greeting", "Hello", "abc")],
        )
        .last_event_id("abc"),
        one(
            "BOM stripped with multiple messages",
            "BOMdata: First\n\ndata: Second\n\n",
            &[message("First"), message("Second")],
        ),
        one(
            "BOM only stripped at stream start, not from later data",
            "data: First\n\ndata: BOMSecond\n\n",
            &[message("First"), message("\u{feff}Second")],
        ),
        split,
        bytes,
        one(
            "only first BOM at start is stripped",
            "BOMdata: BOMHello\n\n",
            &[message("\u{feff}Hello")],
        ),
        one(
            "no BOM - baseline test",
            "data: Hello\n\n",
            &[message("Hello")],
        ),
        one(
            "BOM with multi-line data",
            "BOMdata: Line1\ndata: Line2\n\n",
            &[message("Line1\nLine2")],
        ),
        one(
            "BOM with comment at start",
            "BOM:comment\ndata: Hello\n\n",
            &[message("Hello")],
        )
        .comments(1),
        one(
            "BOM does not affect empty data field",
            "BOMdata:\n\n",
            &[message("")],
        ),
    ]
}

/// Sizes around the buffers of common runtimes.
fn payload_sizes() -> Vec<Case> {
    let sizes = [
        1, 128, 512, 1_023, 1_024, 1_025, 2_048, 3_999, 4_094, 4_096, 4_098, 6_144, 8_189, 8_192,
        8_195, 12_288, 16_384, 32_768, 65_536, 262_144, 1_048_576,
    ];
    let sized = sizes.iter().map(|size| {
        let data = "x".repeat(*size);
        case(
            &format!("payload of {size} bytes"),
            &[&format!("data: {data}\n\n")],
            &[message(&data)],
        )
    });
    sized.collect()
}

fn reconnection() -> Vec<Case> {
    vec![
        case(
            "sends ID of last received event",
            &["id: abc\ndata: Hello\n\n"],
            &[event("message", "Hello", "abc")],
        )
        .last_event_id("abc"),
        case(
            "sends ID of last received event that had an ID if later events did not",
            &["id: abc\ndata: Hello\n\n", "data: World\n\n"],
            &[
                event("message", "Hello", "abc"),
                event("message", "World", "abc"),
            ],
        )
        .last_event_id("abc"),
    ]
}

#[test]
fn cases_of_the_contract_tests_hold() {
    let groups = [
        ("basic parsing", basic_parsing()),
        ("comments", comments()),
        ("line feeds", line_ends()),
        ("byte order marks", byte_order_marks()),
        ("payload sizes", payload_sizes()),
        ("reconnection", reconnection()),
    ];
    let (mut held, mut all) = (0, 0);
    for (group, cases) in groups {
        for case in cases {
            all += 1;
            let whole = case.chunks.concat();
            let chunkings: [Vec<&[u8]>; 4] = [
                case.chunks.iter().map(Vec::as_slice).collect(),
                iter::once(&whole[..]).collect(),
                whole.chunks(1).collect(),
                whole.chunks(2).collect(),
            ];
            let holds = chunkings.into_iter().all(|chunks| {
                let decoded = decode(chunks);
                decoded.events == case.events
                    && decoded.comments == case.comments
                    && decoded.last_event_id == case.last_event_id
            });
            held += usize::from(holds);
            if !holds {
                println!("{group}, {}: {:?}", case.name, decode([&whole[..]]));
            }
        }
    }
    println!("contract tests: {held} of {all}");
    assert_eq!(held, all);
}

use super::*;

#[test]
fn calls_are_told_apart_and_never_glued() {
    let f = |index: Option<u32>, id: Option<&str>, name: Option<&str>, arguments: Value| {
        let mut piece = json!({"type": "function", "function": {"arguments": arguments}});
        if let Some(index) = index {
            piece["index"] = index.into();
        }
        if let Some(id) = id {
            piece["id"] = id.into();
        }
        if let Some(name) = name {
            piece["function"]["name"] = name.into();
        }
        piece
    };
    let oslo = r#"{"city":"Oslo"}"#;
    let rome = r#"{"city":"Rome"}"#;
    for (pieces, expected) in [
        // The last fragment of a name beside the first arguments.
        (
            vec![
                f(Some(0), Some("a"), Some("edit_ex"), json!("")),
                f(Some(0), None, Some("isting_file"), json!(oslo)),
            ],
            vec![("edit_existing_file", oslo)],
        ),
        // One index, no or empty ids.
        (
            vec![
                f(Some(0), Some(""), Some("w"), json!(oslo)),
                f(Some(0), Some(""), Some("w"), json!(rome)),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        (
            vec![
                f(Some(0), None, Some("w"), json!(oslo)),
                f(Some(0), None, Some("v"), json!(rome)),
            ],
            vec![("w", oslo), ("v", rome)],
        ),
        // One id for two calls.
        (
            vec![
                f(Some(0), Some("x"), Some("w"), json!(oslo)),
                f(Some(1), Some("x"), Some("w"), json!(rome)),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        (
            vec![
                f(None, Some("x"), Some("w"), json!(oslo)),
                f(None, Some("x"), Some("w"), json!(rome)),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        // Neither index, id nor name behind the first.
        (
            vec![
                f(None, None, Some("w"), json!(oslo)),
                f(None, None, None, json!(rome)),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        (
            vec![
                f(None, None, Some("w"), json!("{\"city\":")),
                f(None, None, None, json!("\"Oslo\"}")),
                f(None, None, Some("w"), json!("{\"city\":")),
                f(None, None, None, json!("\"Rome\"}")),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        // An id anew in each piece.
        (
            vec![
                f(None, Some("1"), Some("w"), json!("{\"city\":")),
                f(None, Some("2"), None, json!("\"Oslo\"}")),
            ],
            vec![("w", oslo)],
        ),
        // Opened by an empty object.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{}")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{}")),
                f(Some(0), None, None, json!("{\"city\":")),
                f(Some(0), None, None, json!("\"Oslo\"}")),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!({})),
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        // Cumulative.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{")),
                f(Some(0), None, None, json!("{\"city\":")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("")),
                f(Some(0), Some("a"), Some("w"), json!("{\"city\":\"O")),
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        // Whole once more, also written otherwise.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{\"city\":")),
                f(Some(0), None, None, json!("\"Oslo\"}")),
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
                f(Some(0), Some("a"), None, json!("{ \"city\": \"Oslo\" }")),
            ],
            vec![("w", oslo)],
        ),
        // As an object, one or growing.
        (
            vec![f(Some(0), Some("a"), Some("w"), json!({"city": "Oslo"}))],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!({"a": 1})),
                f(Some(0), Some("a"), None, json!({"a": 1, "b": 2})),
            ],
            vec![("w", r#"{"a":1,"b":2}"#)],
        ),
        (
            vec![
                f(Some(0), None, Some("w"), json!({"city": "Oslo"})),
                f(Some(0), None, Some("w"), json!({"city": "Rome"})),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        // Without arguments.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("")),
                f(Some(1), Some("b"), Some("v"), json!("")),
            ],
            vec![("w", ""), ("v", "")],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("")),
                f(Some(0), Some("b"), Some("w"), json!("")),
            ],
            vec![("w", ""), ("w", "")],
        ),
        // More behind whole arguments that begins nothing.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
                f(Some(0), None, None, json!("}")),
            ],
            vec![("w", oslo)],
        ),
        // A value ends inside a piece.
        (
            vec![f(
                Some(0),
                Some("a"),
                Some("w"),
                json!(format!("{oslo}{rome}")),
            )],
            vec![("w", oslo), ("w", rome)],
        ),
        (
            vec![f(
                Some(0),
                Some("a"),
                Some("w"),
                json!(format!("{oslo}\n{rome}")),
            )],
            vec![("w", oslo), ("w", rome)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{\"city\":")),
                f(Some(0), None, None, json!("\"Oslo\"}{\"city\":")),
                f(Some(0), None, None, json!("\"Rome\"}")),
            ],
            vec![("w", oslo), ("w", rome)],
        ),
        (
            vec![f(
                Some(0),
                Some("a"),
                Some("w"),
                json!(format!("{oslo}{oslo}")),
            )],
            vec![("w", oslo)],
        ),
        (
            vec![f(
                Some(0),
                Some("a"),
                Some("w"),
                json!(format!("{{}}{oslo}")),
            )],
            vec![("w", oslo)],
        ),
        // Opened and closed by nothing, however it is written.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("null")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("[]")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{ }")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!(oslo)),
                f(Some(0), None, None, json!("{}")),
            ],
            vec![("w", oslo)],
        ),
        // An index that moves behind the name.
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("")),
                f(Some(1), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(None, Some("a"), Some("w"), json!("")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("w", oslo)],
        ),
        // A name in fragments, whole in every piece, and growing.
        (
            vec![
                f(Some(0), Some("a"), Some("edit_ex"), json!("")),
                f(Some(0), None, Some("isting_file"), json!("")),
                f(Some(0), None, None, json!(oslo)),
            ],
            vec![("edit_existing_file", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("w"), json!("{\"city\":")),
                f(Some(0), Some("a"), Some("w"), json!("\"Oslo\"}")),
            ],
            vec![("w", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("edit"), json!("")),
                f(Some(0), Some("a"), Some("edit_file"), json!(oslo)),
            ],
            vec![("edit_file", oslo)],
        ),
        (
            vec![
                f(Some(0), Some("a"), Some("get"), json!("")),
                f(Some(0), None, Some("_"), json!("")),
                f(Some(0), None, Some("it"), json!("")),
            ],
            vec![("get_it", "")],
        ),
    ] {
        let mut events: Vec<_> = pieces.iter().map(|piece| call(piece.clone())).collect();
        events.extend([end("tool_calls"), DONE.to_owned()]);
        let read = read(&framed(&events));
        assert_eq!(read.names_and_arguments(), expected, "{pieces:?}");
        let ids: std::collections::BTreeSet<_> = read.calls.iter().map(|call| &call[0]).collect();
        assert_eq!(ids.len(), read.calls.len(), "{pieces:?}");
        assert_eq!(read.end(), "completed", "{pieces:?}");
    }
    // By their place in the list.
    let pair = |a: &str, b: &str, is_first: bool| {
        let name = |name: &str| if is_first { json!(name) } else { Value::Null };
        delta(json!({"tool_calls": [
            {"function": {"name": name("f"), "arguments": a}}, {"function": {"name": name("g"), "arguments": b}}]}))
    };
    let read = read(&framed(&[
        pair("{\"a\":", "{\"b\":", true),
        pair("1}", "2}", false),
        end("tool_calls"),
    ]));
    assert_eq!(
        read.names_and_arguments(),
        [("f", "{\"a\":1}"), ("g", "{\"b\":2}")]
    );
}

use proptest::prelude::*;

use super::*;

/// Any JSON whose names are those that errors have, nested and in texts.
fn json_of_errors() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0_i64), Just(200), Just(429), Just(1002), any::<i64>()]
            .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("error"),
            Just("{"),
            Just("[]"),
            Just("data: {}"),
            Just("<title")
        ]
        .prop_map(Value::from),
    ];
    const NAMES: [&str; 24] = [
        "error",
        "errors",
        "message",
        "msg",
        "code",
        "type",
        "detail",
        "details",
        "loc",
        "response",
        "base_resp",
        "status_code",
        "status_msg",
        "header",
        "success",
        "status",
        "metadata",
        "raw",
        "innererror",
        "error_code",
        "error_msg",
        "retry_after",
        "failed_generation",
        "x",
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&NAMES), inner.clone()), 0..5).prop_map(
                |members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            ),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

/// The envelopes that hold nothing but the words.
fn envelope_of(words: &Value, which: usize) -> Value {
    match which {
        0 => json!({"error": words}),
        1 => json!({"error": {"message": words}}),
        2 => json!({"error": {"error": {"message": words}}}),
        3 => json!({"error": {"message": json!({"error": {"message": words}}).to_string()}}),
        4 => json!({"errors": [{"message": words}]}),
        5 => json!({"error": [words]}),
        6 => json!({"detail": words}),
        7 => json!({"detail": [{"msg": words}]}),
        8 => json!({"error_message": words}),
        9 => json!({"base_resp": {"status_code": 1000, "status_msg": words}}),
        10 => json!({"response": {"error": {"message": words}}}),
        11 => json!({"success": false, "message": words}),
        12 => json!({"code": "1301", "msg": words}),
        13 => json!({"error_code": 2, "error_msg": words}),
        14 => json!({"header": {"code": 10007, "message": words}}),
        15 => json!({"type": "error", "message": words}),
        16 => json!({"Response": {"Error": {"Message": words}}}),
        17 => json!({"object": "error", "message": {"detail": [{"msg": words}]}}),
        18 => json!([{"error": {"message": words}}]),
        _ => json!({"__type": "X", "Message": words}),
    }
}

proptest! {
    #[test]
    fn no_json_makes_the_reader_panic(value in json_of_errors(), status in proptest::option::of(any::<u16>())) {
        for error in [
            ServerError::from_json(&value),
            ServerError::from_member(&value),
            ServerError::reported_by(&value),
            ServerError::from_text(&value.to_string()),
            Some(ServerError::from_error_event(&value)),
        ] {
            let error = error.unwrap_or_default().into_api_error(status);
            prop_assert!(!error.message().is_empty());
        }
    }

    #[test]
    fn words_in_an_envelope_are_the_message(words in "[A-Z][a-z]{1,9} [a-z ,.!?:]{0,40}[a-z]", which in 0..20_usize) {
        let value = envelope_of(&json!(words), which);
        for error in [ServerError::from_json(&value), ServerError::reported_by(&value)] {
            let message = error.map(|error| error.into_api_error(None).message().to_owned());
            prop_assert_eq!(message, Some(words.clone()), "{}", value);
        }
    }
}

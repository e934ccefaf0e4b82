use std::{fmt::Debug, sync::Arc};

use super::*;
use crate::{
    ErrorKind,
    protocol::{CompactionInput, Prompt, ResponseItem},
    provider::{BearerAuth, Provider},
    wire::StreamDecoder,
};

#[test]
fn every_message_can_be_cloned_and_printed() {
    fn is<T: Clone + Debug>() {}
    is::<SubmitRequest>();
    is::<Subscribe>();
    is::<Unsubscribe>();
    is::<CancelRequest>();
    is::<GetStatus>();
    is::<Compact>();
    is::<ListModels>();
    is::<Submit<Compact>>();
    is::<Submit<ListModels>>();
    is::<Shutdown>();
    fn is_printed<T: Debug>() {}
    is_printed::<Asked<()>>();
    is_printed::<StreamDecoder>();
}

#[test]
fn what_is_asked_and_secrets_are_not_printed() {
    let provider = Provider::new("p", "https://host").unwrap();
    let provider = Arc::new(provider.with_auth(BearerAuth::new("hunter2").unwrap()));
    let input = CompactionInput::new("gpt-5", vec![ResponseItem::user_text("private")]);
    let prompt = Prompt::user("private")
        .with_model("gpt-5")
        .with_instructions("private");
    let submit = SubmitRequest::new(prompt)
        .with_provider(provider.clone())
        .with_header("x-api-key", "hunter2")
        .and_then(|submit| submit.with_header("x-team", "search"));
    let compact = Compact::new(input)
        .with_provider(provider.clone())
        .with_header("x-api-key", "hunter2")
        .and_then(|compact| compact.with_header("x-team", "search"));
    let models = ListModels::new()
        .with_provider(provider)
        .with_header("x-api-key", "hunter2")
        .and_then(|models| models.with_header("x-team", "search"));
    let (submit, compact, models) = (submit.unwrap(), compact.unwrap(), models.unwrap());
    for text in [
        format!("{submit:?}"),
        format!("{compact:?}"),
        format!("{models:?}"),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("private"), "{text}");
        assert!(text.contains(r#""x-team": "search""#), "{text}");
    }
    assert!(format!("{submit:?}").contains("gpt-5"));
    assert!(submit.headers["x-api-key"].is_sensitive());
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_at_once() {
    for (name, value) in [("no name", "a"), ("x-a", "a\nb"), ("content-length", "1")] {
        let error = SubmitRequest::new(Prompt::user("a"))
            .with_header(name, value)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{name}");
    }
}

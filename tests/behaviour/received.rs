//! Bodies that somebody else wrote, sent on.

use actix_responses::{protocol::Prompt, wire::Wire};

use crate::support::{events::*, provider, settle, start_with, transport::Exchange};

#[actix_rt::test]
async fn a_body_is_sent_as_it_came_but_for_stream() {
    let body = "{\"model\":\"m\", \"stream\":false,\n\"input\" : \"hi\",\"n\":1.50,\"n\":[ ]}";
    let chat =
        "{\"messages\":[{\"content\":\"hi\",\"role\":\"user\"}],\"model\":\"m\",\"seed\":1E1 }";
    for (wire, body, expected) in [
        (Wire::Responses, body, body.replace("false", "true")),
        (
            Wire::Chat,
            chat,
            chat.replace(
                " }",
                " ,\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
            ),
        ),
    ] {
        let exchanges = [Exchange::status(500), Exchange::stream(answer())];
        let (runtime, transport) = start_with(exchanges, |config| {
            config.retry = crate::support::steady_retry(2);
            provider(config, |p| p.wire = wire);
        });
        let prompt = Prompt::from_body(body).unwrap();
        let _stream = runtime.stream(prompt).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        settle().await;
        let sent = transport.requests();
        assert_eq!(sent.len(), 2);
        for request in sent {
            assert_eq!(request.body, expected);
        }
    }
}

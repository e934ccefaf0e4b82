//! From a reply to the steps that send it.
//!
//! Pure: what the connection then does with the steps needs a socket and a clock, this does not.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{
    answers::Answers,
    event::sse_text,
    layout::{Step, Unsent, lay_out},
    records::RecordedRequest,
    reply::{Framing, Reply, ReplyBody},
    request::{Client, Refusal},
    routes::{cancellable, default_reply, error_object},
};

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// Plans the answer to a request, whose events are so far apart unless the reply says otherwise. Where the connection cannot be used
/// again, the last step closes it.
pub(super) fn plan(
    reply: Reply,
    request: &RecordedRequest,
    client: Client,
    stream_pace: Duration,
    answers: &Answers,
) -> Vec<Step> {
    let pace = reply.pace.unwrap_or(stream_pace);
    // What a script says is said whatever becomes of the answer.
    let is_own = matches!(reply.body, ReplyBody::Default);
    let mut reply = with_definite_body(reply, request, answers, pace);
    let (content_type, body) = match std::mem::take(&mut reply.body) {
        ReplyBody::Json(value) => (Some("application/json"), Bytes::from(value.to_string())),
        ReplyBody::Text(text) => (Some("text/plain; charset=utf-8"), Bytes::from(text)),
        ReplyBody::Sse(bytes) => (Some(EVENT_STREAM), bytes),
        ReplyBody::Events(events) => (Some(EVENT_STREAM), Bytes::from(sse_text(&events))),
        // Neither is left: the one was replaced above, the other when the server started.
        ReplyBody::Default | ReplyBody::SseFile(_) | ReplyBody::Empty => (None, Bytes::new()),
    };
    let is_stream = content_type == Some(EVENT_STREAM);
    let status = reply.status.unwrap_or(StatusCode::OK);
    let has_body = request.method != Method::HEAD
        && !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match reply.framing {
        None if !is_stream => Framing::Length,
        None | Some(Framing::Chunked) if client.knows_chunks => Framing::Chunked,
        None | Some(Framing::Chunked) => Framing::UntilClose,
        Some(framing) => framing,
    };
    let asks_to_close = reply.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
    });
    let closes =
        asks_to_close || !client.keep_alive || (has_body && framing == Framing::UntilClose);

    let mut head = status_line(status);
    let mut add = |name: &str, value: &str| {
        if !reply.names(name) {
            head += &format!("{name}: {value}\r\n");
        }
    };
    if let Some(content_type) = content_type {
        add("content-type", content_type);
    }
    add("x-request-id", &format!("req_loopback_{}", request.number));
    add("openai-processing-ms", "1");
    match framing {
        // A length that the reply names itself is the framing, true or not.
        _ if !has_body || reply.names("content-length") || reply.names("transfer-encoding") => {}
        Framing::Length => add("content-length", &body.len().to_string()),
        Framing::Chunked => add("transfer-encoding", "chunked"),
        Framing::UntilClose => {}
    }
    if closes {
        add("connection", "close");
    } else if !client.knows_chunks {
        // HTTP/1.0 closes unless told otherwise.
        add("connection", "keep-alive");
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";

    let mut steps = lay_out(&Unsent {
        head: &head,
        body: if has_body { &body } else { b"" },
        is_stream,
        chunks: reply.chunks,
        chunked: has_body && framing == Framing::Chunked && !reply.names("content-length"),
        pace: match reply.pace {
            None if !is_stream => Duration::ZERO,
            _ => pace,
        },
        cancellable: is_own.then(|| cancellable(request, answers)).flatten(),
        faults: &reply.faults,
    });
    if closes && !steps.last().is_some_and(Step::is_last) {
        steps.push(Step::Cut);
    }
    steps
}

/// Plans the answer to what is no request that can be understood. It closes the connection, as nobody knows where the
/// next request would begin.
pub(super) fn plan_refusal(refusal: &Refusal) -> Vec<Step> {
    let body = error_object(refusal.status, &refusal.message, None).to_string();
    let answer = format!(
        "{}content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        status_line(refusal.status),
        body.len()
    );
    vec![Step::Write(answer.into()), Step::Cut]
}

fn status_line(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("HTTP/1.1 {} {reason}\r\n", status.as_str())
}

/// Puts the default answer where the reply leaves its body open.
fn with_definite_body(
    reply: Reply,
    request: &RecordedRequest,
    answers: &Answers,
    pace: Duration,
) -> Reply {
    if reply.body != ReplyBody::Default {
        return reply;
    }
    if let Some(status) = reply.status.filter(|status| status.as_u16() >= 400) {
        let message = format!("The loopback provider was told to answer with {status}.");
        let body = ReplyBody::Json(error_object(status, &message, None));
        return Reply { body, ..reply };
    }
    let default = default_reply(request, answers, pace);
    let mut headers = default.headers;
    headers.retain(|(name, _)| !reply.names(name));
    headers.extend_from_slice(&reply.headers);
    Reply {
        status: reply.status.or(default.status),
        headers,
        body: default.body,
        ..reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Action, Chunks, Position};

    const KEEP: Client = Client {
        knows_chunks: true,
        keep_alive: true,
    };
    const STREAM: &str = "data: 1\n\ndata: 22\n\n";

    fn steps(reply: Reply, client: Client) -> Vec<Step> {
        plan(
            reply,
            &RecordedRequest::for_tests(Method::POST, "/v1/responses", "{}"),
            client,
            Duration::ZERO,
            &Answers::default(),
        )
    }

    /// The steps in one line: writes as text without the head, everything else by its name.
    fn shown(reply: Reply, client: Client) -> String {
        let mut line = String::new();
        for step in steps(reply, client) {
            line += &match step {
                Step::Write(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    match text.split_once("\r\n\r\n") {
                        Some((head, rest)) if head.starts_with("HTTP/") => format!("[head{rest}]"),
                        _ => format!("[{text}]"),
                    }
                }
                other => format!(" {other:?} "),
            };
        }
        line.replace("\r\n", "~").replace('\n', "|")
    }

    fn head_of(reply: Reply, client: Client) -> String {
        match steps(reply, client).first() {
            Some(Step::Write(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no head: {other:?}"),
        }
    }

    #[test]
    fn a_stream_is_one_chunk_an_event() {
        assert_eq!(
            shown(Reply::sse(STREAM), KEEP),
            "[head][9~data: 1||~][a~data: 22||~][0~~]"
        );
        let head = head_of(Reply::sse(STREAM), KEEP);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_loopback_1\r\n\
             openai-processing-ms: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn the_body_is_cut_as_it_is_told_to() {
        for (reply, expected) in [
            (
                Reply::sse(STREAM).with_chunks(Chunks::Whole),
                "[head][13~data: 1||data: 22||~][0~~]",
            ),
            (
                Reply::text("abcde").with_chunk_bytes(2),
                "[head][ab][cd][e]",
            ),
            (Reply::text("abcd").with_chunk_bytes(2), "[head][ab][cd]"),
            (
                Reply::text("abc").with_framing(Framing::Chunked),
                "[head][3~abc~][0~~]",
            ),
            (Reply::text("abc").no_length(), "[head][abc] Cut "),
            (Reply::text(""), "[head]"),
            (Reply::sse(""), "[head][0~~]"),
            (
                Reply::text("abc")
                    .with_chunk_bytes(2)
                    .with_pace(Duration::from_secs(1)),
                "[head][ab] Wait(1s) [c]",
            ),
        ] {
            assert_eq!(shown(reply, KEEP), expected);
        }
    }

    #[test]
    fn faults_happen_between_the_right_bytes() {
        let second = Duration::from_secs(1);
        for (fault, expected) in [
            (
                Reply::sse(STREAM).delay_head(second),
                " Wait(1s) [head][9~data: 1||~][a~data: 22||~][0~~]",
            ),
            (Reply::sse(STREAM).never_head(), " Hang "),
            (Reply::sse(STREAM).close_before_head(), " Cut "),
            (Reply::sse(STREAM).garbage("?!"), "[?!] Cut "),
            (Reply::sse(STREAM).cut_after_bytes(0), "[head] Cut "),
            (Reply::sse(STREAM).cut_after_bytes(4), "[head][9~data] Cut "),
            (
                Reply::sse(STREAM).cut_after_bytes(9),
                "[head][9~data: 1||~] Cut ",
            ),
            (
                Reply::sse(STREAM).cut_after_bytes(10),
                "[head][9~data: 1||~][a~d] Cut ",
            ),
            (
                Reply::sse(STREAM).cut_after_bytes(99),
                "[head][9~data: 1||~][a~data: 22||~] Cut ",
            ),
            (
                Reply::sse(STREAM).reset_after_events(1),
                "[head][9~data: 1||~] Reset ",
            ),
            (Reply::sse(STREAM).cut_after_events(0), "[head] Cut "),
            (
                Reply::sse(STREAM).cut_after_events(9),
                "[head][9~data: 1||~][a~data: 22||~] Cut ",
            ),
            (
                Reply::sse(STREAM).hold_open(),
                "[head][9~data: 1||~][a~data: 22||~] Hang ",
            ),
            (
                Reply::sse(STREAM).with_fault(Position::AnswerEnd, Action::Cut),
                "[head][9~data: 1||~][a~data: 22||~][0~~] Cut ",
            ),
            (
                Reply::sse(STREAM)
                    .cut_after_bytes(10)
                    .with_fault(Position::BodyBytes(4), Action::Stall(second)),
                "[head][9~data] Wait(1s) [: 1||~][a~d] Cut ",
            ),
        ] {
            assert_eq!(shown(fault, KEEP), expected);
        }
    }

    #[test]
    fn a_fault_in_the_head_leaves_the_rest_for_later() {
        let reply = Reply::text("abc").with_fault(
            Position::HeadBytes(8),
            Action::Stall(Duration::from_secs(1)),
        );
        let steps = steps(reply, KEEP);
        assert_eq!(steps[0], Step::Write(Bytes::from("HTTP/1.1")));
        assert_eq!(steps[1], Step::Wait(Duration::from_secs(1)));
        assert!(matches!(&steps[2], Step::Write(rest) if rest.starts_with(b" 200 OK\r\n")));
    }

    #[test]
    fn comments_wait_for_the_event_and_the_chunk_to_end() {
        let every = Duration::from_secs(1);
        let comments = |at| {
            let action = Action::Comments {
                every,
                lasting: Some(every),
            };
            Reply::sse(STREAM)
                .with_chunks(Chunks::Whole)
                .with_fault(at, action)
        };
        let first = "[head][9~data: 1||~]";
        for (at, before, behind) in [
            (Position::Start, "[head]", "[13~data: 1||data: 22||~][0~~]"),
            (Position::BodyBytes(3), first, "[a~data: 22||~][0~~]"),
            (Position::BodyBytes(9), first, "[a~data: 22||~][0~~]"),
            (Position::Events(1), first, "[a~data: 22||~][0~~]"),
            (
                Position::AnswerEnd,
                "[head][13~data: 1||data: 22||~]",
                "[0~~]",
            ),
        ] {
            let between = r#" Comments { bytes: b"d\r\n: keepalive\n\n\r\n", every: 1s, lasting: Some(1s) } "#;
            assert_eq!(
                shown(comments(at), KEEP),
                format!("{before}{between}{behind}"),
                "{at:?}"
            );
        }
        let forever = shown(
            Reply::sse(STREAM)
                .no_length()
                .comments_after_events(1, every),
            KEEP,
        );
        assert!(forever.ends_with(
            r#"[data: 1||] Comments { bytes: b": keepalive\n\n", every: 1s, lasting: None } "#
        ));
    }

    #[test]
    fn headers_of_the_reply_take_the_place_of_the_usual_ones() {
        let reply = Reply::text("abc")
            .with_header("Content-Length", "5")
            .with_header("X-Request-ID", "mine")
            .with_header("Content-Type", "text/event-stream");
        assert_eq!(
            head_of(reply, KEEP),
            "HTTP/1.1 200 OK\r\nopenai-processing-ms: 1\r\nContent-Length: 5\r\nX-Request-ID: mine\r\n\
             Content-Type: text/event-stream\r\n\r\n"
        );
    }

    #[test]
    fn the_connection_is_closed_when_one_side_wants_that() {
        let closing = Client {
            keep_alive: false,
            ..KEEP
        };
        assert_eq!(shown(Reply::text("a"), closing), "[head][a] Cut ");
        assert!(head_of(Reply::text("a"), closing).contains("\r\nconnection: close\r\n"));
        let reply = Reply::text("a").with_header("Connection", "close");
        assert_eq!(shown(reply, KEEP), "[head][a] Cut ");
    }

    #[test]
    fn a_client_of_http_1_0_gets_no_chunks() {
        let old = Client {
            knows_chunks: false,
            ..KEEP
        };
        assert_eq!(
            shown(Reply::sse(STREAM), old),
            "[head][data: 1||][data: 22||] Cut "
        );
        assert_eq!(shown(Reply::text("a"), old), "[head][a]");
        assert!(head_of(Reply::text("a"), old).contains("\r\nconnection: keep-alive\r\n"));
    }

    #[test]
    fn where_there_can_be_no_body_there_is_none() {
        let head_request = RecordedRequest::for_tests(Method::HEAD, "/", "");
        let answers = Answers::default();
        let steps = plan(
            Reply::text("a"),
            &head_request,
            KEEP,
            Duration::ZERO,
            &answers,
        );
        assert_eq!(steps.len(), 1);
        let unchanged = Reply::text("a").with_status(StatusCode::NOT_MODIFIED);
        assert_eq!(shown(unchanged, KEEP), "[head]");
    }
}

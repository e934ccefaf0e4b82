//! HTTP as a server writes it.

pub(crate) const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const DELTA: &str = "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"some text \"}\n\n";
pub(crate) const COMPLETED: &str =
    "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\"}}\n\n";

/// Text as one chunk of a body.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A whole answer, with the body's end.
pub(crate) fn whole_answer() -> String {
    format!("{HEAD}{}{}0\r\n\r\n", chunk(DELTA), chunk(COMPLETED))
}

/// The same, which says that its connection is closed: one that is kept may be asked again before it is.
pub(crate) fn last_answer() -> String {
    whole_answer().replacen("\r\n", "\r\nconnection: close\r\n", 1)
}

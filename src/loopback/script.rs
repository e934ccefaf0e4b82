//! What to do with each request in turn, and the file that says so.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;

use super::{
    records::RecordedRequest,
    reply::{Reply, ReplyBody},
};
use crate::files;

/// The most bytes of a script file. Its replies take up to a hundred times the bytes that they are written with.
const MAX_SCRIPT_BYTES: u64 = 8 << 20;
/// The most bytes of a recorded stream, which is held in memory.
const MAX_RECORDING_BYTES: u64 = 64 << 20;

/// The replies to the requests, in the order in which the requests arrive, over all connections.
///
/// A request takes the first reply that is meant for it and has not been taken: one of its [path](Reply::path), or, if it is a POST
/// that asks for an answer, one without a path. Whatever none is meant for gets the default answer. As a file it is JSON; durations
/// are texts like `"10ms"`, `"2s"` or `"5m"`, and fields that do not exist are refused:
///
/// ```
/// use actix_responses::loopback::Script;
///
/// let script = Script::from_json(r#"{
///     "replies": [
///         {"status": 429, "headers": {"retry-after": "1"}},
///         {"chunks": {"bytes": 7}, "pace": "10ms", "faults": [{"at": {"events": 5}, "do": "reset"}]},
///         {"body": {"events": [{"event": "note", "data": {"type": "note"}}]}}
///     ],
///     "after": "default"
/// }"#)?;
/// assert_eq!(script.replies.len(), 3);
/// # Ok::<(), actix_responses::loopback::ScriptError>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The replies, in the order in which they are taken.
    pub replies: Vec<Reply>,
    /// What a request gets when all replies that are meant for it have been taken.
    pub after: AfterReplies,
}

/// What the requests behind a script's last reply get. Without any that is meant for it, a request gets the default answer in any
/// case.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum AfterReplies {
    /// The default answer.
    #[default]
    Default,
    /// The last reply again.
    RepeatLast,
    /// All replies again, from the first.
    Cycle,
}

/// Says why a script cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The script, or a file it names, cannot be read, or is larger than 8 MiB, or 64 MiB for a recorded stream.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The script file is no script; the source names the field and the line.
    #[error("reading the script in {}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// The text is no script; the source names the field and the line.
    #[error("reading the script")]
    Json(#[source] serde_json::Error),
}

impl Script {
    /// Makes a script that answers every request the same way.
    pub fn always(reply: Reply) -> Self {
        Self {
            replies: vec![reply],
            after: AfterReplies::RepeatLast,
        }
    }

    /// Makes a script of these replies, and default answers behind them.
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            replies: replies.into_iter().collect(),
            after: AfterReplies::Default,
        }
    }

    /// Reads a script. Files it names stay unread until the server starts.
    ///
    /// # Errors
    ///
    /// When the text is not JSON or not a script.
    pub fn from_json(text: &str) -> Result<Self, ScriptError> {
        serde_json::from_str(text).map_err(ScriptError::Json)
    }

    /// Reads a script file, and the files it names, which it looks for beside it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or is too large, or the script is none. The error names the file.
    pub fn from_file(path: &Path) -> Result<Self, ScriptError> {
        let text = read_file(path, MAX_SCRIPT_BYTES)?;
        let mut script: Self =
            serde_json::from_slice(&text).map_err(|source| ScriptError::InFile {
                path: path.to_owned(),
                source,
            })?;
        script.load_files(path.parent().unwrap_or(Path::new("")))?;
        Ok(script)
    }

    /// Replaces each named file by what it holds. A relative path starts at `folder`.
    pub(super) fn load_files(&mut self, folder: &Path) -> Result<(), ScriptError> {
        for reply in &mut self.replies {
            if let ReplyBody::SseFile(path) = &reply.body {
                reply.body = ReplyBody::Sse(read_file(&folder.join(path), MAX_RECORDING_BYTES)?);
            }
        }
        Ok(())
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Bytes, ScriptError> {
    let bytes = files::read(path, limit).map_err(|source| ScriptError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Bytes::from(bytes))
}

/// A script and how far it has been played.
#[derive(Debug)]
pub(super) struct ScriptCursor {
    script: Script,
    /// How often each reply has been taken.
    taken: Mutex<Vec<u32>>,
}

impl ScriptCursor {
    pub(super) fn new(script: Script) -> Self {
        Self {
            taken: Mutex::new(vec![0; script.replies.len()]),
            script,
        }
    }

    /// Takes the reply to the request that has arrived next.
    pub(super) fn next_reply(&self, request: &RecordedRequest) -> Reply {
        // One change at a time; none can be left half way.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let replies = self.script.replies.iter().zip(&mut *taken);
        let mut meant = replies.filter(|(reply, _)| reply.is_meant_for(request));
        let found = match self.script.after {
            AfterReplies::Default => meant.find(|(_, taken)| **taken == 0),
            AfterReplies::RepeatLast => {
                let mut last = None;
                let new = meant.find_map(|it| match it.1 {
                    0 => Some(it),
                    _ => {
                        last = Some(it);
                        None
                    }
                });
                new.or(last)
            }
            AfterReplies::Cycle => meant.min_by_key(|(_, taken)| **taken),
        };
        let reply = found.map(|(reply, taken)| {
            *taken = taken.saturating_add(1);
            reply.clone()
        });
        reply.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, num::NonZeroUsize, time::Duration};

    use http::{Method, StatusCode};

    use super::*;
    use crate::loopback::{Action, Chunks, Framing, OutgoingEvent, Position};

    fn statuses(script: Script, requests: usize) -> Vec<Option<u16>> {
        let cursor = ScriptCursor::new(script);
        (0..requests)
            .map(|_| status(&cursor, Method::POST, "/v1/responses"))
            .collect()
    }

    fn status(cursor: &ScriptCursor, method: Method, path: &str) -> Option<u16> {
        let request = RecordedRequest::for_tests(method, path, "{}");
        let reply = cursor.next_reply(&request);
        reply.status.map(|status| status.as_u16())
    }

    #[test]
    fn a_request_takes_a_reply_that_is_meant_for_it() {
        let replies = [
            Reply::error(StatusCode::IM_A_TEAPOT),
            Reply::error(StatusCode::BAD_GATEWAY).with_path("/models"),
            Reply::error(StatusCode::GONE).with_path("/responses/"),
            Reply::error(StatusCode::CONFLICT),
        ];
        let cursor = ScriptCursor::new(Script::new(replies));
        for (method, path, expected) in [
            (Method::GET, "/v1/responses/resp_1", Some(410)),
            (Method::GET, "/v1/responses/resp_1", None),
            (Method::GET, "/v1/models", Some(502)),
            (Method::GET, "/v1/models", None),
            (Method::POST, "/v1/responses/resp_1/cancel", None),
            (Method::POST, "/v1/responses", Some(418)),
            (Method::GET, "/v1/responses", None),
            (Method::POST, "/v1/responses/compact", Some(409)),
            (Method::POST, "/v1/chat/completions", None),
        ] {
            assert_eq!(status(&cursor, method, path), expected, "{path}");
        }
    }

    #[test]
    fn requests_behind_the_last_reply_get_what_after_says() {
        let replies = [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY].map(Reply::error);
        for (after, expected) in [
            (
                AfterReplies::Default,
                [Some(429), Some(502), None, None, None],
            ),
            (
                AfterReplies::RepeatLast,
                [Some(429), Some(502), Some(502), Some(502), Some(502)],
            ),
            (
                AfterReplies::Cycle,
                [Some(429), Some(502), Some(429), Some(502), Some(429)],
            ),
        ] {
            let script = Script {
                replies: replies.to_vec(),
                after,
            };
            assert_eq!(statuses(script, 5), expected, "{after:?}");
            let without_replies = Script {
                replies: vec![],
                after,
            };
            assert_eq!(statuses(without_replies, 2), [None, None], "{after:?}");
        }
    }

    #[test]
    fn every_field_of_a_file_is_read() {
        let script = Script::from_json(
            r#"{
                "replies": [
                    {
                        "path": "/responses",
                        "status": 503,
                        "headers": {"Retry-After": "2", "x-odd": ["a", "b"]},
                        "body": {"events": [{"event": "e", "id": "1", "data": {"b": 1}}, {"data": "text"}]},
                        "chunks": {"bytes": 7},
                        "framing": "until_close",
                        "pace": "10ms",
                        "faults": [
                            {"at": "start", "do": {"stall": "2s"}},
                            {"at": {"head_bytes": 5}, "do": {"send": "?"}},
                            {"at": {"events": 1}, "do": {"comments": {"every": "1s"}}},
                            {"at": {"events": 2}, "do": {"comments": {"every": "1s", "lasting": "5m"}}},
                            {"at": {"body_bytes": 9}, "do": "reset"},
                            {"at": {"events": 3}, "do": "end"},
                            {"at": "body_end", "do": "hang"},
                            {"at": "answer_end", "do": "cut"}
                        ]
                    },
                    {"body": {"json": {"a": null}}, "chunks": "whole"},
                    {"body": {"sse": "data: 1\n\n"}},
                    {"body": "empty"},
                    {}
                ],
                "after": "cycle"
            }"#,
        )
        .unwrap();
        let every = Duration::from_secs(1);
        let first = Reply::events([
            OutgoingEvent {
                id: Some("1".into()),
                ..OutgoingEvent::named("e", r#"{"b":1}"#)
            },
            OutgoingEvent::data("text"),
        ])
        .with_path("/responses")
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_header("Retry-After", "2")
        .with_header("x-odd", "a")
        .with_header("x-odd", "b")
        .with_chunks(Chunks::Bytes(NonZeroUsize::new(7).unwrap()))
        .with_framing(Framing::UntilClose)
        .with_pace(Duration::from_millis(10))
        .delay_head(Duration::from_secs(2))
        .with_fault(Position::HeadBytes(5), Action::Send(Bytes::from("?")))
        .comments_after_events(1, every)
        .with_fault(
            Position::Events(2),
            Action::Comments {
                every,
                lasting: Some(Duration::from_secs(300)),
            },
        )
        .reset_after_bytes(9)
        .end_after_events(3)
        .hold_open()
        .with_fault(Position::AnswerEnd, Action::Cut);
        assert_eq!(
            script,
            Script {
                replies: vec![
                    first,
                    Reply::json(serde_json::json!({"a": null})).with_chunks(Chunks::Whole),
                    Reply::sse("data: 1\n\n"),
                    Reply::new(ReplyBody::Empty),
                    Reply::default(),
                ],
                after: AfterReplies::Cycle,
            }
        );
    }

    #[test]
    fn what_a_script_does_not_know_is_refused_by_name() {
        for (text, named) in [
            (r#"{"repplies": []}"#, "`repplies`"),
            (r#"{"after": "stop"}"#, "`stop`"),
            (r#"{"replies": [{"stattus": 200}]}"#, "`stattus`"),
            (r#"{"replies": [{"status": 99}]}"#, "99 is no status"),
            (r#"{"replies": [{"pace": "fast"}]}"#, "\"fast\""),
            (r#"{"replies": [{"chunks": {"bytes": 0}}]}"#, "nonzero"),
            (r#"{"replies": [{"body": {"sse_fil": "a"}}]}"#, "`sse_fil`"),
            (
                r#"{"replies": [{"headers": {"a": 1}}]}"#,
                "a text, or an array",
            ),
            (
                r#"{"replies": [{"body": {"events": [{"dat": ""}]}}]}"#,
                "`dat`",
            ),
            (
                r#"{"replies": [{"faults": [{"at": "middle", "do": "cut"}]}]}"#,
                "`middle`",
            ),
            (
                r#"{"replies": [{"faults": [{"at": "start", "do": {"stall": "1 day"}}]}]}"#,
                "\"1 day\"",
            ),
            (r#"{"replies": [{"faults": [{"at": "start"}]}]}"#, "`do`"),
        ] {
            let error = Script::from_json(text).expect_err(text);
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains(named), "{text}: {cause}");
            assert!(cause.contains("line 1"), "{text}: {cause}");
        }
    }
}

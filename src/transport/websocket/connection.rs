//! The task of one connection: it serves one request after the other, and keeps the socket alive in between.

use std::{future::poll_fn, rc::Weak, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    conversation::Answer,
    frames::{CANCEL, Meaning},
    idle::{Ask, IdleConnections},
};
use crate::transport::{TransportError, TransportErrorKind as Kind, WebSocket, WebSocketMessage};

/// How long a connection may lie idle before it is closed: a person reads an answer and writes on.
const IDLE_TIME: Duration = Duration::from_secs(300);

/// How old a connection may be when it is used again. OpenAI ends one after 60 minutes, in the middle of an answer if there is one, and
/// answers of five minutes are rare.
const LIFETIME: Duration = Duration::from_secs(55 * 60);

/// How often an idle connection is pinged: below the 60 s after which load balancers drop what is silent.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long a cancelled response may take to end, so that the connection lives on. A server that knows the message answers within a
/// round trip; beyond that the connection is closed, which every server understands.
const CANCEL_TIME: Duration = Duration::from_secs(1);

/// How long a close frame may take to be written before the connection is dropped.
const CLOSE_TIME: Duration = Duration::from_millis(100);

type Socket = Box<dyn WebSocket>;

/// Runs until the connection ends, by the peer, by age, or because nobody knows it any more.
pub(super) async fn run(
    mut socket: Socket,
    peer: String,
    mut asks: mpsc::Receiver<Ask>,
    idle: Weak<IdleConnections>,
) {
    let end = Instant::now() + LIFETIME;
    loop {
        let ask = match wait(&mut socket, &mut asks, end).await {
            Ok(ask) => ask,
            Err(why) => {
                tracing::debug!(%peer, why, "a WebSocket ends");
                return close(&mut socket).await;
            }
        };
        if !serve(&mut socket, &peer, ask, &idle, end).await {
            return close(&mut socket).await;
        }
    }
}

/// Waits for a request, and looks after the connection. Or says why that is over.
async fn wait(
    socket: &mut Socket,
    asks: &mut mpsc::Receiver<Ask>,
    end: Instant,
) -> Result<Ask, &'static str> {
    let over = end.min(Instant::now() + IDLE_TIME);
    let mut next_ping = Instant::now() + PING_EVERY;
    let mut is_answered = true;
    loop {
        tokio::select! {
            biased;
            ask = asks.recv() => return match ask {
                Some(ask) => Ok(ask),
                None => Err("nobody needs it"),
            },
            message = next(socket) => match message {
                Some(Ok(WebSocketMessage::Ping(bytes))) => {
                    if send(socket, WebSocketMessage::Pong(bytes)).await.is_err() {
                        return Err("it broke");
                    }
                }
                Some(Ok(WebSocketMessage::Pong(_))) => is_answered = true,
                Some(Ok(WebSocketMessage::Text(text) | WebSocketMessage::Binary(text))) => {
                    // An error without a request is one of the connection; an event of an answer would be taken for the next one's.
                    if Meaning::of(&text) != Meaning::Event || text.starts_with(br#"{"type":"response."#) {
                        return Err("the server spoke unasked");
                    }
                }
                Some(Ok(WebSocketMessage::Close(_))) | None => return Err("the server closed it"),
                Some(Err(_)) => return Err("it broke"),
            },
            () = sleep_until(over) => return Err("its time is over"),
            () = sleep_until(next_ping) => {
                if !is_answered {
                    return Err("the server answers no ping");
                }
                is_answered = false;
                next_ping += PING_EVERY;
                if send(socket, WebSocketMessage::Ping(Bytes::new())).await.is_err() {
                    return Err("it broke");
                }
            }
        }
    }
}

/// Serves one request. Whether the connection can serve another.
async fn serve(
    socket: &mut Socket,
    peer: &str,
    ask: Ask,
    idle: &Weak<IdleConnections>,
    end: Instant,
) -> bool {
    let Ask {
        message,
        conversation,
        answer,
        mut connection,
    } = ask;
    let put_back = |parent| match idle.upgrade() {
        Some(idle) if Instant::now() < end => {
            connection.parent = parent;
            idle.put(connection);
            true
        }
        _ => false,
    };
    let mut known = Answer::to(conversation);
    let sent = tokio::select! {
        sent = send(socket, WebSocketMessage::Text(message)) => sent,
        () = answer.closed() => return false,
    };
    if let Err(error) = sent {
        let _ = answer.send(Err(error)).await;
        return false;
    }
    let mut has_begun = false;
    loop {
        let message = tokio::select! {
            message = next(socket) => message,
            () = answer.closed() => return cancel(socket).await && put_back(None),
        };
        let text = match message {
            Some(Ok(WebSocketMessage::Text(text) | WebSocketMessage::Binary(text))) => text,
            Some(Ok(WebSocketMessage::Ping(bytes))) => {
                // If that breaks, so does what is read next.
                let _ = send(socket, WebSocketMessage::Pong(bytes)).await;
                continue;
            }
            Some(Ok(WebSocketMessage::Pong(_))) => continue,
            Some(Ok(WebSocketMessage::Close(reason))) => {
                let reason = shown(reason);
                tracing::debug!(%peer, %reason, "the server closed a WebSocket inside of an answer");
                // Inside of an answer its reader says that it was cut.
                if !has_begun && !reason.is_empty() {
                    let message = format!("{peer} closed the WebSocket before it answered{reason}");
                    let error = TransportError::new(Kind::Send, message);
                    let _ = answer.send(Err(error)).await;
                }
                return false;
            }
            Some(Err(error)) => {
                let _ = answer.send(Err(error)).await;
                return false;
            }
            None => return false,
        };
        let meaning = Meaning::of(&text);
        // Not read on before there is room: so a slow reader holds up the server.
        let Ok(room) = answer.reserve().await else {
            let is_over = meaning == Meaning::End;
            return (is_over || cancel(socket).await) && put_back(None);
        };
        let (may_be_kept, parent) = match meaning {
            Meaning::Event | Meaning::Item => {
                if meaning == Meaning::Item {
                    known.item(&text);
                }
                has_begun = true;
                room.send(Ok(text));
                continue;
            }
            Meaning::End => (true, known.end(&text)),
            // A refusal, with which a server forgets what it knew. What follows an error inside of an answer, nobody knows.
            Meaning::Error => (!has_begun, None),
        };
        // Before its reader knows that the answer has ended, so that the next request finds it.
        let is_kept = may_be_kept && put_back(parent);
        room.send(Ok(text));
        return is_kept;
    }
}

/// Has the response that runs end. Whether it did in time.
async fn cancel(socket: &mut Socket) -> bool {
    let ending = async {
        send(socket, WebSocketMessage::Text(CANCEL)).await.ok()?;
        loop {
            match next(socket).await?.ok()? {
                WebSocketMessage::Text(text) | WebSocketMessage::Binary(text) => {
                    match Meaning::of(&text) {
                        Meaning::Event | Meaning::Item => {}
                        Meaning::End => return Some(()),
                        // It knows no cancelling, or nothing ran any more: which of the two can't be told.
                        Meaning::Error => return None,
                    }
                }
                WebSocketMessage::Ping(bytes) => {
                    send(socket, WebSocketMessage::Pong(bytes)).await.ok()?;
                }
                WebSocketMessage::Pong(_) => {}
                WebSocketMessage::Close(_) => return None,
            }
        }
    };
    matches!(timeout(CANCEL_TIME, ending).await, Ok(Some(())))
}

/// Says goodbye, if that can be said at once.
async fn close(socket: &mut Socket) {
    let bye = send(socket, WebSocketMessage::Close(Some((1000, String::new()))));
    let _ = timeout(CLOSE_TIME, bye).await;
}

async fn next(socket: &mut Socket) -> Option<Result<WebSocketMessage, TransportError>> {
    poll_fn(|cx| socket.poll_next(cx)).await
}

async fn send(socket: &mut Socket, message: WebSocketMessage) -> Result<(), TransportError> {
    socket.start_send(message)?;
    poll_fn(|cx| socket.poll_flush(cx)).await
}

/// A code and a reason, for the end of a sentence.
fn shown(reason: Option<(u16, String)>) -> String {
    match reason {
        Some((code, reason)) if reason.is_empty() => format!(": code {code}"),
        Some((code, reason)) => format!(": code {code}, {reason}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;

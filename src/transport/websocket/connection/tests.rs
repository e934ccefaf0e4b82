//! An idle connection, with the clock paused: its peer is a script.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll},
};

use http::HeaderMap;
use url::Url;

use super::*;
use crate::transport::websocket::idle::{Handle, Key};

/// What was sent, with the second in which it was.
type Sent = Rc<RefCell<Vec<(u64, WebSocketMessage)>>>;

/// A peer that answers so many pings, and every request; it says nothing else but what is there.
struct Scripted {
    sent: Sent,
    began: Instant,
    pongs: usize,
    waiting: VecDeque<WebSocketMessage>,
}

impl WebSocket for Scripted {
    fn poll_next(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<WebSocketMessage, TransportError>>> {
        match self.waiting.pop_front() {
            Some(message) => Poll::Ready(Some(Ok(message))),
            None => Poll::Pending,
        }
    }

    fn start_send(&mut self, message: WebSocketMessage) -> Result<(), TransportError> {
        if let (WebSocketMessage::Ping(bytes), true) = (&message, self.pongs > 0) {
            self.pongs -= 1;
            self.waiting
                .push_back(WebSocketMessage::Pong(bytes.clone()));
        }
        if let WebSocketMessage::Text(_) = message {
            let end = Bytes::from_static(br#"{"type":"response.completed"}"#);
            self.waiting.push_back(WebSocketMessage::Text(end));
        }
        let second = self.began.elapsed().as_secs();
        self.sent.borrow_mut().push((second, message));
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }
}

fn key() -> Key {
    let url = Url::parse("http://host/v1/responses").unwrap();
    Key::new(&url, &HeaderMap::new(), 100)
}

/// Runs a connection that nobody asks anything, until it ends: what it sent, and when that was.
async fn left_alone(pongs: usize, waiting: &[WebSocketMessage]) -> (Vec<(u64, &'static str)>, u64) {
    let (asks, asked) = mpsc::channel(1);
    let sent = Sent::default();
    let began = Instant::now();
    let socket = Box::new(Scripted {
        sent: sent.clone(),
        began,
        pongs,
        waiting: waiting.iter().cloned().collect(),
    });
    let idle = Rc::new(IdleConnections::default());
    let parent = None;
    idle.put(Handle {
        key: key(),
        parent,
        asks,
    });
    run(socket, "host".to_owned(), asked, Rc::downgrade(&idle)).await;
    assert!(idle.take(&key(), None).is_none(), "it is over");
    let name = |message: &WebSocketMessage| match message {
        WebSocketMessage::Ping(_) => "ping",
        WebSocketMessage::Pong(_) => "pong",
        WebSocketMessage::Close(_) => "close",
        _ => "message",
    };
    let sent = sent.borrow();
    let sent = sent
        .iter()
        .map(|(second, message)| (*second, name(message)));
    (sent.collect(), began.elapsed().as_secs())
}

#[actix_rt::test]
async fn an_idle_connection_is_kept_alive_and_closed_after_five_minutes() {
    tokio::time::pause();
    let (sent, seconds) = left_alone(usize::MAX, &[]).await;
    let pings = (1..10).map(|number| (30 * number, "ping"));
    assert_eq!(sent, pings.chain([(300, "close")]).collect::<Vec<_>>());
    assert_eq!(seconds, 300);
}

#[actix_rt::test]
async fn an_idle_connection_whose_peer_answers_no_ping_is_closed() {
    tokio::time::pause();
    let (sent, seconds) = left_alone(1, &[]).await;
    assert_eq!(sent, [(30, "ping"), (60, "ping"), (90, "close")]);
    assert_eq!(seconds, 90);
}

#[actix_rt::test]
async fn a_peer_that_speaks_of_an_answer_unasked_is_left() {
    tokio::time::pause();
    let ping = WebSocketMessage::Ping(Bytes::from_static(b"x"));
    let text = |text: &'static str| WebSocketMessage::Text(Bytes::from_static(text.as_bytes()));
    for (last, seconds) in [
        (text(r#"{"type":"error","error":{}}"#), 0),
        (text(r#"{"type":"response.output_text.delta"}"#), 0),
        (text(r#"{"type":"codex.rate_limits"}"#), 300),
        (WebSocketMessage::Close(None), 0),
    ] {
        let (sent, ended) = left_alone(usize::MAX, &[ping.clone(), last]).await;
        assert_eq!(sent[0], (0, "pong"));
        assert_eq!(ended, seconds);
    }
}

#[actix_rt::test]
async fn no_connection_of_55_minutes_is_used_again() {
    tokio::time::pause();
    let (asks, asked) = mpsc::channel(1);
    let idle = Rc::new(IdleConnections::default());
    let parent = None;
    idle.put(Handle {
        key: key(),
        parent,
        asks,
    });
    let began = Instant::now();
    let socket = Box::new(Scripted {
        sent: Sent::default(),
        began,
        pongs: usize::MAX,
        waiting: VecDeque::new(),
    });
    let running = actix_rt::spawn(run(socket, "host".to_owned(), asked, Rc::downgrade(&idle)));
    let mut turns = 0;
    // The peer answers at once, and the next request comes four minutes later.
    while let Some(connection) = idle.take(&key(), None) {
        let (answer, mut messages) = mpsc::channel(1);
        let asks = connection.asks.clone();
        let ask = Ask {
            message: Bytes::from_static(b"{}"),
            conversation: None,
            answer,
            connection,
        };
        assert!(asks.send(ask).await.is_ok());
        drop(asks);
        assert!(messages.recv().await.is_some());
        turns += 1;
        tokio::time::sleep(Duration::from_secs(240)).await;
    }
    running.await.unwrap();
    assert_eq!((turns, began.elapsed().as_secs() / 60), (14, 56));
}

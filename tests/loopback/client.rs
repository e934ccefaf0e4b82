//! A client that sees every byte.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use actix_responses::loopback::Loopback;
use serde_json::Value;

use super::support::PATIENCE;

#[derive(Debug, PartialEq)]
pub(super) enum End {
    Fin,
    Reset,
}

pub(super) struct Client {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Client {
    pub(super) fn connect(loopback: &Loopback) -> Self {
        Self::to(loopback.address())
    }

    pub(super) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(super) fn posting(loopback: &Loopback, path: &str, body: &Value) -> Self {
        let mut client = Self::connect(loopback);
        client.post(path, body);
        client
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    pub(super) fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    }

    pub(super) fn read_more(&mut self) -> Result<usize, ErrorKind> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).map_err(|error| error.kind())?;
        self.unread.extend_from_slice(&piece[..length]);
        Ok(length)
    }

    pub(super) fn take(&mut self, length: usize) -> String {
        while self.unread.len() < length {
            assert_ne!(
                self.read_more().expect("bytes"),
                0,
                "closed inside of an answer"
            );
        }
        let taken: Vec<u8> = self.unread.drain(..length).collect();
        String::from_utf8(taken).expect("text")
    }

    pub(super) fn take_until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                return self.take(at + end.len());
            }
            assert_ne!(self.read_more().expect("bytes"), 0, "closed before {end:?}");
        }
    }

    /// Reads one answer, by its own framing, and leaves what follows.
    pub(super) fn answer(&mut self) -> Answer {
        let head = self.take_until("\r\n\r\n").to_lowercase();
        let status = head[9..12].parse().expect("a status");
        let mut body = String::new();
        if let Some((_, rest)) = head.split_once("content-length: ") {
            let length = rest
                .split("\r\n")
                .next()
                .unwrap()
                .parse()
                .expect("a length");
            body = self.take(length);
        } else if head.contains("transfer-encoding: chunked") {
            loop {
                let size = self.take_until("\r\n");
                let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
                body += &self.take(size);
                assert_eq!(self.take(2), "\r\n");
                if size == 0 {
                    break;
                }
            }
        }
        Answer { status, head, body }
    }

    /// Reads until the server closes the connection.
    pub(super) fn rest(&mut self) -> (String, End) {
        let end = loop {
            match self.read_more() {
                Ok(0) => break End::Fin,
                Ok(_) => {}
                Err(ErrorKind::ConnectionReset) => break End::Reset,
                Err(other) => panic!("reading the rest: {other}"),
            }
        };
        let rest = String::from_utf8_lossy(&self.unread).into_owned();
        self.unread.clear();
        (rest, end)
    }

    /// Asserts that nothing comes for a while.
    pub(super) fn hears_nothing(&mut self) {
        assert_eq!(self.unread, b"");
        self.stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let heard = self.read_more();
        assert!(
            matches!(heard, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "{heard:?}"
        );
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

//! A server of WebSockets, as a script takes it line by line.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use serde_json::Value;

use super::server::{accept, read_head};

/// One connection, its handshake done.
pub(crate) struct Peer {
    stream: TcpStream,
    /// The head of the handshake.
    pub(crate) head: String,
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

impl Peer {
    /// The next connection, which is made a WebSocket.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut stream = accept(listener);
        let (head, _) = read_head(&mut stream);
        let head = String::from_utf8(head).expect("text");
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let accepted = actix_http::ws::hash_key(key.expect("a handshake").as_bytes());
        let accepted = std::str::from_utf8(&accepted).expect("base64");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nx-request-id: req_1\r\nsec-websocket-accept: {accepted}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).expect("a reader");
        Self { stream, head }
    }

    /// The next frame: its kind, and what it holds. `None` when the client is gone.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).ok()?;
        assert_eq!(start[0] & 0x70, 0, "no extension was agreed on");
        assert_ne!(start[1] & 0x80, 0, "a client masks");
        let length = match start[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).ok()?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).ok()?;
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).ok()?;
        let mut bytes = Vec::new();
        (&mut self.stream)
            .take(length)
            .read_to_end(&mut bytes)
            .ok()?;
        for (byte, mask) in bytes.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Some((start[0] & 0x0f, bytes))
    }

    /// The next message that is text. Others are stepped over; `None` when the client closes.
    pub(crate) fn message(&mut self) -> Option<Value> {
        loop {
            match self.frame()? {
                (TEXT, text) => return Some(serde_json::from_slice(&text).expect("JSON")),
                (CLOSE, _) => return None,
                _ => {}
            }
        }
    }

    /// Sends a frame, of which more follows or not.
    pub(crate) fn send_frame(&mut self, kind: u8, is_last: bool, bytes: &[u8]) {
        let mut frame = vec![kind | if is_last { 0x80 } else { 0 }];
        match bytes.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..=0xffff => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(bytes);
        self.stream.write_all(&frame).expect("a reader");
    }

    /// Writes bytes that need be no frame.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("a reader");
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_frame(TEXT, true, text.as_bytes());
    }
}

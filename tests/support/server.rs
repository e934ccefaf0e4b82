//! A server is a script that a thread runs, line by line.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use tokio::{net::TcpSocket, sync::oneshot};

/// Runs a script on a listener; the receiver has what it returns.
pub(crate) fn serve<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (SocketAddr, oneshot::Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        let _ = done.send(script(listener));
    });
    (address, result)
}

/// An address where every connection is refused: taken, so that no other test gets it, and never listened on.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    _socket: TcpSocket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(any).expect("a free port");
        Self {
            address: socket.local_addr().expect("an address"),
            _socket: socket,
        }
    }
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/v1")
}

/// The next connection.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().expect("a connection").0
}

/// The next connection, its first request read.
pub(crate) fn accept_request(listener: &TcpListener) -> TcpStream {
    let mut stream = accept(listener);
    read_request(&mut stream);
    stream
}

/// Reads the head of a request; gives what came, the head and perhaps a part of the body, and how many bytes of the body
/// are still to come.
pub(crate) fn read_head(stream: &mut impl Read) -> (Vec<u8>, usize) {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("a request");
        assert_ne!(count, 0, "the client closed inside of the head");
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        if let Some(end) = text.find("\r\n\r\n") {
            let mut lines = text.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            let left = (end + 4 + length).saturating_sub(read.len());
            return (read, left);
        }
    }
}

/// Reads a request whole: its head, and its body by content-length.
pub(crate) fn read_request(stream: &mut impl Read) -> String {
    let (mut request, left) = read_head(stream);
    let mut body = stream.take(left as u64);
    let read = body.read_to_end(&mut request).expect("a body");
    assert_eq!(read, left, "the client closed inside of the body");
    String::from_utf8(request).expect("text")
}

/// Reads until the client closes or resets the connection.
pub(crate) fn until_closed(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// Writes as long as somebody takes it; says how many bytes they took.
pub(crate) fn write_until_refused(stream: &mut TcpStream, text: &str) -> usize {
    let mut written = 0;
    while let Ok(count) = stream.write(&text.as_bytes()[written % text.len()..]) {
        written += count;
    }
    written
}

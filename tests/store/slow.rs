//! A server of Redis behind a network that is slow, though nothing is wrong with it.

use std::time::Duration;

use actix_responses::store::{Append, RedisOptions, RedisStore, StreamStore as _};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream, UnixStream},
    time::{Instant, sleep},
};

use crate::{
    conforms::{claimed, key},
    support::redis_server::RedisServer,
};

/// What comes from the server in each [`PIECE_TIME`]: 2.5 MiB a second.
const PIECE: usize = 64 << 10;
const PIECE_TIME: Duration = Duration::from_millis(25);

/// Where the server is, behind such a network. Each connection has its own.
async fn slow(server: &RedisServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let socket = server.socket();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&socket).await.expect("the server");
            tokio::spawn(pass_on(client, server));
        }
    });
    format!("redis://{address}")
}

async fn pass_on(mut client: TcpStream, mut server: UnixStream) {
    let (mut asked, mut told) = client.split();
    let (mut answers, mut questions) = server.split();
    let slowly = async {
        let mut piece = vec![0; PIECE];
        loop {
            let bytes = answers.read(&mut piece).await?;
            if bytes == 0 || told.write_all(&piece[..bytes]).await.is_err() {
                return std::io::Result::Ok(());
            }
            sleep(PIECE_TIME.mul_f64(bytes as f64 / PIECE as f64)).await;
        }
    };
    // Whoever goes away ends it.
    let _ = tokio::join!(copy(&mut asked, &mut questions), slowly);
}

#[tokio::test]
async fn what_is_long_is_read_in_the_time_that_it_takes_and_holds_nobody_up() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let (writes, stream) = (server.store(RedisOptions::default()), key("me", "s"));
    let claim = claimed(&writes, &stream).await;
    let block = Bytes::from(vec![b'x'; 1 << 20]);
    let append = Append {
        blocks: vec![block.clone(); 3],
        request: Some(block.repeat(3).into()),
        ..Append::default()
    };
    writes.append(&claim, append).await.expect("an append");
    let limit = Duration::from_millis(500);
    let options = RedisOptions::default().with_command_timeout(limit);
    let reads = RedisStore::new(&slow(&server).await, options).expect("a store");
    let long = async {
        let began = Instant::now();
        let (request, log) = tokio::join!(reads.request(&stream), reads.read(&stream, 1));
        assert_eq!(request.expect("what was asked").len(), 3 << 20);
        assert_eq!(log.expect("the log").blocks, vec![block.clone(); 3]);
        assert!(began.elapsed() > 2 * limit, "it was not slow");
    };
    let short = async {
        for _ in 0..10 {
            let began = Instant::now();
            reads.find("me", "s").await.expect("what is known of it");
            assert!(began.elapsed() < limit, "{:?}", began.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(long, short);
}

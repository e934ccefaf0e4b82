//! The store in Redis, on real servers.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use actix_responses::{
    futures_util::{FutureExt as _, StreamExt as _},
    store::{
        Append, Claim, RedisOptions, RedisStore, StoreError, StoreLimits, StreamEnd,
        StreamStore as _,
    },
    transport::TlsConfig,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    conforms::{Second, TTL, after, blocks, claimed, conforms, end, key},
    support::{
        Folder, Identity,
        redis_server::{RedisServer, free_port},
    },
};

/// More than the store's own time for a command.
const SOON: Duration = Duration::from_millis(1500);

fn prefix() -> String {
    static PREFIXES: AtomicU32 = AtomicU32::new(0);
    format!("test{}", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

async fn conforms_at(server: &RedisServer) {
    let make = |limits: StoreLimits| {
        let options = RedisOptions::default()
            .with_prefix(prefix())
            .with_retention(limits.retention)
            .with_stream_bytes(limits.stream_bytes);
        server.store(options)
    };
    conforms(make, Second(Duration::from_millis(50)), sleep).await;
}

#[tokio::test]
async fn the_store_in_redis_conforms() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    conforms_at(&server).await;
    // Nothing stays for ever.
    let keys = server.ask(&["KEYS", "*"]).await;
    let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        let left = server.ask(&["PTTL", &key]).await;
        assert_ne!(left, redis::Value::Int(-1), "{key}");
    }
}

/// Resolves when a server's cluster has all slots.
async fn is_up(server: &RedisServer) {
    let is_up = async {
        while !server
            .tell(&["CLUSTER", "INFO"])
            .await
            .contains("cluster_state:ok")
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), is_up)
        .await
        .expect("a cluster");
}

#[tokio::test]
async fn it_conforms_on_a_server_of_a_cluster() {
    let (port, bus) = (free_port().to_string(), free_port().to_string());
    let arguments = ["--port", &port, "--cluster-port", &bus];
    let cluster = [
        "--cluster-enabled",
        "yes",
        "--cluster-require-full-coverage",
        "no",
    ];
    let Some(server) = RedisServer::start_with(&[&arguments[..], &cluster].concat()).await else {
        return;
    };
    server
        .ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await;
    is_up(&server).await;
    conforms_at(&server).await;
}

#[tokio::test]
async fn it_goes_where_a_cluster_has_its_keys() {
    let mut ports = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let (port, bus) = (free_port().to_string(), free_port().to_string());
        let arguments = ["--port", &port, "--cluster-port", &bus];
        let cluster = ["--cluster-enabled", "yes"];
        let Some(server) = RedisServer::start_with(&[&arguments[..], &cluster].concat()).await
        else {
            return;
        };
        servers.push(server);
        ports.push((port, bus));
    }
    let [named, other] = <[_; 2]>::try_from(servers).ok().unwrap();
    other.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let (port, bus) = &ports[1];
    named
        .ask(&["CLUSTER", "MEET", "127.0.0.1", port, bus])
        .await;
    is_up(&named).await;
    is_up(&other).await;
    let store = named.store(RedisOptions::default());
    let stream = key("me", "s");
    let mut tail = store.tail(&stream, 1);
    assert_eq!(tail.next().await, Some(Err(StoreError::Unknown)));
    let claim = claimed(&store, &stream).await;
    let mut tail = store.tail(&stream, 1);
    assert!(tail.next().now_or_never().is_none());
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    assert_eq!(tail.next().await.unwrap().unwrap().blocks, blocks(1..=1));
    assert_eq!(other.ask(&["DBSIZE"]).await, redis::Value::Int(3));
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_was_killed_is_back_without_what_it_held() {
    let Some(mut server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    store.append(&claim, after(0, 1..=2)).await.unwrap();
    let mut tail = store.tail(&stream, 3);
    assert!(tail.next().now_or_never().is_none());
    server.kill();
    let began = Instant::now();
    unavailable(store.append(&claim, after(2, 3..=3)).await);
    unavailable(store.find("me", "s").await);
    unavailable(store.check().await);
    unavailable(tail.next().await.expect("an error"));
    assert!(began.elapsed() < SOON * 2, "{:?}", began.elapsed());
    server.start_again().await;
    let back = async {
        while store.check().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), back)
        .await
        .expect("the store");
    let lost = store.append(&claim, after(2, 3..=3)).await;
    assert_eq!(lost, Err(StoreError::Unknown));
    let again = claimed(&store, &stream).await;
    assert_eq!(store.append(&again, after(0, 1..=3)).await, Ok(3));
    let mut tail = store.tail(&stream, 1);
    let entries = tail.next().await.unwrap().unwrap();
    assert_eq!(entries.blocks, blocks(1..=3));
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_nobody_up() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    server.ask(&["CLIENT", "PAUSE", "1500", "ALL"]).await;
    let began = Instant::now();
    let why = unavailable(store.append(&claim, after(1, 2..=2)).await);
    assert!(why.contains("no answer within 800ms"), "{why}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let there = timeout(Duration::from_secs(10), async {
        loop {
            match store.append(&claim, after(1, 2..=2)).await {
                Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                there => break there,
            }
        }
    });
    // What was in flight was done, or not; never twice.
    let there = there.await.expect("a server that goes on");
    assert!(matches!(
        there,
        Ok(2) | Err(StoreError::Conflict { blocks: 2 })
    ));
    assert_eq!(store.read(&stream, 1).await.unwrap().blocks, blocks(1..=2));
}

#[tokio::test]
async fn it_comes_with_a_name_and_a_password_that_nobody_sees() {
    let folder = Folder::new();
    // What the documentation says that it needs.
    let user = "relay on >hunter22secret ~{responses}:* +@connection +time +info +eval +evalsha +script|load +get +set \
        +hget +hmget +hset +pexpire +del +sadd +smembers +zadd +zrange +zrem +zremrangebyrank +xadd +xlen +xtrim +xrange +xread";
    let rules = folder.write(
        "users.acl",
        format!("user {user}\nuser default on nopass ~* +@all\n"),
    );
    let Some(server) = RedisServer::start_in(folder, &["--aclfile", &rules], "").await else {
        return;
    };
    let with = |user: &str, password: &str| {
        let url = format!("{}?user={user}&pass={password}", server.url());
        RedisStore::new(&url, RedisOptions::default()).expect("a store")
    };
    let store = with("relay", "hunter22secret");
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    let named = Append {
        aliases: vec!["resp_1".to_owned()],
        ..after(0, 1..=1)
    };
    store.append(&claim, named).await.unwrap();
    let mut tail = store.tail(&stream, 2);
    assert!(tail.next().now_or_never().is_none());
    store.append(&claim, end(1)).await.unwrap();
    let last = tail.next().await.unwrap().unwrap();
    assert_eq!(last.end, Some(StreamEnd::Completed));
    store.find("me", "resp_1").await.unwrap();
    assert_eq!(store.list("me").await.unwrap().len(), 1);
    store.cancel(&stream).await.unwrap();
    store.remove(&stream).await.unwrap();
    store.check().await.unwrap();
    let wrong = with("relay", "another-secret");
    let why = unavailable(wrong.check().await);
    let shown = format!("{store:?} {wrong:?} {why}");
    assert!(!shown.contains("secret"), "{shown}");
    let refused = RedisStore::new("redis://:hunter22secret@[bad", RedisOptions::default());
    let refused = format!("{:?}", refused.unwrap_err());
    assert!(!refused.contains("hunter22"), "{refused}");
}

#[tokio::test]
async fn it_speaks_tls_to_whom_it_trusts() {
    let identity = Identity::new("localhost");
    let port = free_port().to_string();
    let [certificate, key_file] = [&identity.ca_file, &identity.key_file]
        .map(|path| path.to_str().expect("a name in Unicode"));
    let arguments = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key_file,
        "--tls-ca-cert-file",
        certificate,
        "--tls-auth-clients",
        "no",
    ];
    let Some(_server) = RedisServer::start_with(&arguments).await else {
        return;
    };
    let url = format!("rediss://localhost:{port}/0");
    let trusting = TlsConfig::default().with_extra_ca_file(&identity.ca_file);
    let options = RedisOptions::default().with_tls(trusting);
    let store = RedisStore::new(&url, options).expect("a store");
    store.check().await.expect("an answer");
    claimed(&store, &key("me", "s")).await;
    let stranger = RedisStore::new(&url, RedisOptions::default()).expect("a store");
    let why = unavailable(stranger.check().await);
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn two_nodes_fence_each_other_and_say_a_cancel() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let [one, two] = [(); 2].map(|()| server.store(RedisOptions::default()));
    let stream = key("me", "s");
    let short = Duration::from_millis(200);
    let first = one.claim(&stream, "one", 1, short).await.unwrap();
    one.append(&first, after(0, 1..=1)).await.unwrap();
    sleep(short * 2).await;
    let second = two.claim(&stream, "two", 2, TTL).await.unwrap();
    let lost = one.append(&first, after(1, 2..=2)).await;
    assert_eq!(lost, Err(StoreError::Claimed { epoch: 2 }));
    two.append(&second, after(1, 2..=2)).await.unwrap();
    let mut cancelled = std::pin::pin!(two.cancelled(&second));
    assert!(
        timeout(Duration::from_millis(100), cancelled.as_mut())
            .await
            .is_err()
    );
    let began = Instant::now();
    one.cancel(&stream).await.unwrap();
    cancelled.await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    server.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(store.append(&claim, after(0, 1..=1)).await, Ok(1));
}

#[tokio::test]
async fn a_stream_of_which_the_server_let_a_part_go_is_not_there() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    store.append(&claim, after(0, 1..=2)).await.unwrap();
    server.ask(&["DEL", "{responses}:log:2:me/s"]).await;
    assert_eq!(store.read(&stream, 1).await, Err(StoreError::Unknown));
    let refused = store.append(&claim, after(2, 3..=3)).await;
    assert_eq!(refused, Err(StoreError::Unknown));
    let claim = claimed(&store, &stream).await;
    assert_eq!(store.append(&claim, after(0, 1..=3)).await, Ok(3));
}

#[tokio::test]
async fn a_full_server_takes_no_new_streams_and_lets_others_go_on() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    let full = server.store(RedisOptions::default().with_full_at_bytes(1));
    assert_eq!(full.check().await, Err(StoreError::Full));
    let refused = full.claim(&key("me", "new"), "node a", 1, TTL).await;
    assert_eq!(refused, Err(StoreError::Full));
    claimed(&full, &stream).await;
    assert_eq!(full.append(&claim, after(0, 1..=1)).await, Ok(1));
    // And by what the server may use, without asking for its settings.
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    let marked = |percent| server.store(RedisOptions::default().with_full_at_percent(percent));
    assert_eq!(marked(0).check().await, Err(StoreError::Full));
    assert_eq!(marked(90).check().await, Ok(()));
}

fn number(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, number) = lines.find(|(found, _)| *found == name).expect(name);
    number.trim().parse().expect("a number")
}

#[tokio::test]
async fn what_could_not_be_taken_is_not_sent() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let options = RedisOptions::default().with_stream_bytes(1000);
    let store = server.store(options);
    let stream = key("me", "s");
    let claim = claimed(&store, &stream).await;
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    let long = |expected| Append {
        request: Some(vec![b'x'; 4 << 20].into()),
        ..after(expected, 2..=2)
    };
    // The claim comes first, and what is there.
    let others = Claim {
        node: "node b".to_owned(),
        ..claim.clone()
    };
    let refused = store.append(&others, long(1)).await;
    assert_eq!(refused, Err(StoreError::Claimed { epoch: 1 }));
    let refused = store.append(&claim, long(0)).await;
    assert_eq!(refused, Err(StoreError::Conflict { blocks: 1 }));
    let refused = store.append(&claim, long(1)).await;
    assert_eq!(refused, Err(StoreError::TooLarge));
    assert_eq!(store.read(&stream, 1).await, Err(StoreError::TooLarge));
    let stats = server.tell(&["INFO", "stats"]).await;
    assert!(number(&stats, "total_net_input_bytes") < 100_000, "{stats}");
}

#[tokio::test]
async fn a_long_command_that_is_done_keeps_no_dead_connection() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let claim = claimed(&store, &key("me", "s")).await;
    let long = Append {
        request: Some(vec![b'x'; 4 << 20].into()),
        ..after(0, 1..=1)
    };
    assert_eq!(store.append(&claim, long).await, Ok(1));
    let connections = async || {
        let stats = server.tell(&["INFO", "stats"]).await;
        number(&stats, "total_connections_received")
    };
    let before = connections().await;
    server.ask(&["CLIENT", "PAUSE", "1200", "ALL"]).await;
    unavailable(store.append(&claim, after(1, 2..=2)).await);
    sleep(Duration::from_millis(500)).await;
    store.check().await.expect("a server that goes on");
    // The two that asked here, and the store's.
    assert_eq!(connections().await - before, 3);
}

#[tokio::test]
async fn an_id_that_is_said_again_is_counted_once() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default().with_stream_bytes(200));
    let claim = claimed(&store, &key("me", "s")).await;
    for _ in 0..20 {
        let named = Append {
            aliases: vec!["resp_1".to_owned()],
            ..Append::default()
        };
        assert_eq!(store.append(&claim, named).await, Ok(0));
    }
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_not_stormed() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default());
    let claim = claimed(&store, &key("me", "s")).await;
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let connections = async || {
        let stats = server.tell(&["INFO", "stats"]).await;
        number(&stats, "total_connections_received")
    };
    let before = connections().await;
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let appends = (0..10).map(|_| store.append(&claim, after(0, 1..=1)));
        for refused in futures_util::future::join_all(appends).await {
            unavailable(refused);
        }
        sleep(Duration::from_millis(1)).await;
    }
    let opened = connections().await - before;
    assert!(opened <= 15, "{opened}");
    server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(store.append(&claim, after(0, 1..=1)).await, Ok(1));
}

#[tokio::test]
async fn the_protocol_is_ours_whatever_the_url_says() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let url = format!("{}?protocol=resp3", server.url());
    let [one, two] =
        [(); 2].map(|()| RedisStore::new(&url, RedisOptions::default()).expect("a store"));
    let stream = key("me", "s");
    let claim = claimed(&one, &stream).await;
    let mut tail = two.tail(&stream, 1);
    for block in 1..=2 {
        // It has looked, and waits.
        let nothing = timeout(Duration::from_millis(200), tail.next()).await;
        assert!(nothing.is_err());
        let append = after(block - 1, block..=block);
        one.append(&claim, append).await.unwrap();
        let came = timeout(SOON, tail.next()).await.expect("what came");
        assert_eq!(came.unwrap().unwrap().blocks, blocks(block..=block));
    }
}

#[test]
fn what_could_not_work_is_refused() {
    let options = RedisOptions::default;
    for wrong in [
        options().with_listed(usize::MAX),
        options().with_command_timeout(Duration::MAX),
        options().with_connect_timeout(Duration::MAX),
        options().with_command_timeout(Duration::ZERO),
    ] {
        assert!(RedisStore::new("redis://127.0.0.1", wrong).is_err());
    }
}

/// All of one node's readers wait by one command, and hear soon of what another node writes.
#[tokio::test]
async fn many_tails_share_a_connection() {
    const STREAMS: usize = 200;
    const BLOCKS: u64 = 20;
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let [writes, reads] = [(); 2].map(|()| server.store(RedisOptions::default()));
    let streams: Vec<_> = (0..STREAMS)
        .map(|at| key("me", &format!("s{at}")))
        .collect();
    let mut claims = Vec::new();
    for stream in &streams {
        claims.push(claimed(&writes, stream).await);
    }
    let began = Instant::now();
    let reading = streams.iter().map(|stream| {
        let mut tail = reads.tail(stream, 1);
        async move {
            let mut late = Vec::new();
            while let Some(entries) = tail.next().await {
                for block in entries.expect("entries").blocks {
                    let text = std::str::from_utf8(&block).unwrap();
                    late.push(began.elapsed() - Duration::from_micros(text.parse().unwrap()));
                }
            }
            assert_eq!(late.len() as u64, BLOCKS);
            late
        }
    });
    let reading = actix_responses::futures_util::future::join_all(reading);
    let writing = async {
        for number in 0..BLOCKS {
            let at = began.elapsed().as_micros().to_string();
            let appends = claims.iter().map(|claim| {
                writes.append(
                    claim,
                    Append {
                        expected: number,
                        blocks: vec![at.clone().into()],
                        end: (number + 1 == BLOCKS).then_some(StreamEnd::Completed),
                        ..Append::default()
                    },
                )
            });
            for appended in actix_responses::futures_util::future::join_all(appends).await {
                assert_eq!(appended, Ok(number + 1));
            }
            sleep(Duration::from_millis(20)).await;
        }
        let clients = server.tell(&["CLIENT", "LIST"]).await;
        clients.lines().count()
    };
    let (late, clients) = tokio::join!(reading, writing);
    let mut late: Vec<_> = late.into_iter().flatten().collect();
    late.sort_unstable();
    let [half, most] = [late.len() / 2, late.len() * 99 / 100].map(|at| late[at]);
    println!("{STREAMS} streams with 50 events a second each: read after {half:?}, p99 {most:?}");
    // Two of the reader, one of the writer, and the one that asks.
    assert!(clients <= 4, "{clients} connections");
    // A machine that has other work is no reason to fail; one answer a turn of the server would be.
    assert!(most < Duration::from_secs(2), "{most:?}");
}

#[tokio::test]
async fn a_thousand_answers_cost_what_they_hold_and_little_more() {
    const ANSWERS: usize = 1000;
    const BLOCKS: u64 = 200;
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let store = server.store(RedisOptions::default().with_listed(ANSWERS));
    let used = async || {
        let info = server.tell(&["INFO", "memory"]).await;
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.unwrap().trim().parse::<usize>().unwrap()
    };
    store.check().await.unwrap();
    let before = used().await;
    let mut bytes = 0;
    for answer in 0..ANSWERS {
        let claim = claimed(&store, &key("me", &format!("resp_{answer:032}"))).await;
        let blocks: Vec<_> = (0..BLOCKS)
            .map(|at| format!("event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{at},\"item_id\":\"msg_{answer:032}\",\"output_index\":0,\"content_index\":0,\"delta\":\" word\"}}\n\n").into())
            .collect();
        bytes += blocks
            .iter()
            .map(|block: &actix_responses::bytes::Bytes| block.len())
            .sum::<usize>();
        let append = Append {
            blocks,
            end: Some(StreamEnd::Completed),
            aliases: vec![format!("alias_{answer:032}")],
            ..Append::default()
        };
        assert_eq!(store.append(&claim, append).await, Ok(BLOCKS));
    }
    let (each, held) = ((used().await - before) / ANSWERS, bytes / ANSWERS);
    println!("an answer of {BLOCKS} blocks with {held} bytes takes {each} bytes of the server");
    assert!(each < held * 3 / 2 + 4096, "{each} for {held}");
    assert_eq!(store.list("me").await.unwrap().len(), ANSWERS);
}

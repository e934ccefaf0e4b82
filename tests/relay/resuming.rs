//! Clients that are cut and come back, and one that does not read: over sockets, many at a time.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use actix_responses::{
    Runtime,
    loopback::{Chunks, Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
    wire::Wire,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{RunningRelay, chunks, header};

/// A connection on which this was asked.
pub(crate) async fn asked(address: SocketAddr, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// Head and body of an answer, read until so many bytes of the body came or all of it, and whether it was all.
pub(crate) async fn read(client: &mut TcpStream, enough: usize) -> (String, String, bool) {
    let mut raw = Vec::new();
    loop {
        let count = client.read_buf(&mut raw).await.unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&raw));
        let Some(head) = raw.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let (body, rest) = chunks(&raw[head + 4..]);
        if rest.is_some() || body.len() >= enough {
            let is_all = rest.is_some();
            let [head, body] = [&raw[..head], &*body].map(|text| String::from_utf8(text.to_vec()));
            return (head.unwrap(), body.unwrap(), is_all);
        }
    }
}

/// The whole blocks of a body, without signs of life.
pub(crate) fn blocks(body: &str) -> impl Iterator<Item = &str> {
    let blocks = body.split_inclusive("\n\n");
    blocks.filter(|block| block.ends_with("\n\n") && !block.contains("keepalive"))
}

/// An answer of 40 blocks.
pub(crate) fn answer(wire: Wire) -> Vec<String> {
    let event = |number: u64, kind: &str, mut data: Value| {
        data["type"] = kind.into();
        data["sequence_number"] = number.into();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let chunk = |choice: Value| format!("data: {}\n\n", json!({"id": "c", "choices": [choice]}));
    let response =
        |status: &str| json!({"response": {"id": "resp_1", "status": status, "output": []}});
    let middle = 1..39_u64;
    match wire {
        Wire::Chat => {
            let delta = |number| json!({"index": 0, "delta": {"role": "assistant", "content": format!("{number} ")}});
            let middle = middle.map(|number| chunk(delta(number)));
            let last = [
                chunk(json!({"index": 0, "delta": {}, "finish_reason": "stop"})),
                "data: [DONE]\n\n".to_owned(),
            ];
            middle.chain(last).collect()
        }
        _ => {
            let delta = |number| {
                let data = json!({"item_id": "m", "output_index": 0, "content_index": 0, "delta": format!("{number} ")});
                event(number, "response.output_text.delta", data)
            };
            let first = event(0, "response.created", response("in_progress"));
            let last = event(39, "response.completed", response("completed"));
            [first]
                .into_iter()
                .chain(middle.map(delta))
                .chain([last])
                .collect()
        }
    }
}

/// Numbers that look random, and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }
}

/// Asks one of these, is cut somewhere, comes back to any, is cut again, and comes back for the rest. What it has then, whether it was
/// let run on, and our id.
async fn cut_twice(
    addresses: &[SocketAddr],
    wire: Wire,
    number: u64,
) -> (Vec<String>, bool, String) {
    let mut random = Random(number);
    let address = addresses[random.below(addresses.len())];
    let whole: usize = answer(wire).iter().map(String::len).sum();
    let is_detached = !number.is_multiple_of(4);
    let (path, body) = match wire {
        Wire::Chat => (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}),
        ),
        _ => (
            "/v1/responses",
            json!({"model": "m", "input": "hi", "stream": true}),
        ),
    };
    let body = body.to_string();
    let mut client = asked(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nx-relay-detach: {is_detached}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
    .await;
    let (head, body, _) = read(&mut client, random.below(whole)).await;
    let id = header(&head, "x-relay-stream").expect("an id").to_owned();
    drop(client);
    let mut seen: Vec<String> = blocks(&body).map(str::to_owned).collect();
    for enough in [random.below(whole), usize::MAX] {
        // On Chat it is the count of the blocks, on Responses the last number that came.
        let cursor = match wire {
            Wire::Chat => Some(seen.len()),
            _ => seen.len().checked_sub(1),
        };
        let (query, more) = match cursor {
            None => (String::new(), String::new()),
            Some(cursor) if number.is_multiple_of(2) => {
                (format!("&starting_after={cursor}"), String::new())
            }
            Some(cursor) => (String::new(), format!("last-event-id: {cursor}\r\n")),
        };
        let address = addresses[random.below(addresses.len())];
        let mut client = asked(
            address,
            &format!(
                "GET /v1/responses/{id}?stream=true{query} HTTP/1.1\r\nhost: {address}\r\n{more}\r\n"
            ),
        )
        .await;
        let (head, body, _) = read(&mut client, enough).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
        for block in blocks(&body) {
            let (fields, id) = block.trim_end().rsplit_once("\nid: ").expect("an id");
            seen.push(format!("{fields}\n\n"));
            let number = match wire {
                Wire::Chat => seen.len(),
                _ => seen.len() - 1,
            };
            assert_eq!(id, number.to_string());
        }
    }
    (seen, is_detached, id)
}

/// So many clients are cut twice each and come back to any of these nodes: each has the whole sequence and one end, or the end of one that
/// nobody wanted any more.
pub(crate) async fn all_cut_twice(addresses: &[SocketAddr], wire: Wire, clients: u64) {
    let whole = answer(wire);
    let clients = (0..clients).map(|number| cut_twice(addresses, wire, number));
    let mut cancelled = 0;
    let mut ids = HashSet::new();
    for (number, (seen, is_detached, id)) in join_all(clients).await.into_iter().enumerate() {
        assert_eq!(id.len(), "relay_".len() + 32, "{id}");
        assert!(ids.insert(id), "{number}");
        if is_detached || seen == whole {
            assert_eq!(seen, whole, "{number}");
            continue;
        }
        cancelled += 1;
        // It left, and the server was told so. What it missed is no clean end.
        let (last, before) = seen.split_last().expect("an end");
        assert_eq!(before, &whole[..before.len()], "{number}");
        let data = last.lines().find_map(|line| line.strip_prefix("data: "));
        let last: Value = serde_json::from_str(data.expect("data")).unwrap();
        let error = match wire {
            Wire::Chat => &last["error"],
            _ => {
                assert_eq!(last["type"], "response.failed");
                assert_eq!(last["sequence_number"], before.len());
                &last["response"]["error"]
            }
        };
        assert_eq!(error["code"], "cancelled", "{last}");
    }
    println!("{wire:?}: of those that were not detached {cancelled} were cancelled");
}

#[actix_rt::test]
async fn one_that_comes_back_has_a_whole_sequence_without_gap_or_repeat_200_times_under_load() {
    for wire in [Wire::Responses, Wire::Chat] {
        let reply = Reply::sse(answer(wire).concat()).with_pace(Duration::from_millis(2));
        let relay = in_front_of(wire, reply);
        all_cut_twice(&[relay.address], wire, 100).await;
        assert_eq!(
            relay.upstream.request_count(),
            100,
            "no run was begun again"
        );
    }
}

fn in_front_of(wire: Wire, reply: Reply) -> RunningRelay {
    let options = LoopbackOptions::default().with_script(Script::always(reply));
    let upstream = Loopback::start(options).unwrap();
    let provider = Provider::new("loopback", &upstream.base_url()).unwrap();
    let provider = provider.with_wire(wire);
    let runtime = Runtime::start(provider.clone()).unwrap();
    let routes = RouteTable::single(provider);
    RunningRelay::serving(
        upstream,
        Relay::new(runtime, routes, RelayConfig::default()),
    )
}

#[actix_rt::test]
async fn a_reader_that_does_not_read_pauses_its_own_stream_beside_20_that_do() {
    let whole = answer(Wire::Responses);
    // More than the buffers of four sockets hold.
    let large = whole[1].replace("1 ", &"a".repeat(256 << 10));
    let long = format!("{}{}{}", whole[0], large.repeat(128), whole[39]);
    let short = whole.concat();
    let script = [&long].into_iter().chain([&short; 20]);
    let script =
        Script::new(script.map(|text| Reply::sse(text.clone()).with_chunks(Chunks::Whole)));
    let relay = RunningRelay::with(
        LoopbackOptions::default().with_script(script),
        RelayConfig::default(),
    )
    .await;
    let body = json!({"model": "m", "input": "hi", "stream": true, "store": false}).to_string();
    let request = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        relay.address,
        body.len()
    );
    let mut slow = asked(relay.address, &request).await;
    relay
        .upstream
        .until(|upstream| upstream.request_count() == 1)
        .await;
    let fast = (0..20).map(async |_| {
        let mut client = asked(relay.address, &request).await;
        read(&mut client, usize::MAX).await.1
    });
    for body in join_all(fast).await {
        assert_eq!(body, short);
    }
    let of_the_slow = relay.upstream.requests()[0].connection;
    let written = relay
        .upstream
        .connection(of_the_slow)
        .unwrap()
        .bytes_written;
    assert!(written < long.len() as u64, "{written}");
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n0\r\n\r\n") {
        assert_ne!(slow.read_buf(&mut rest).await.unwrap(), 0);
    }
    let head = rest
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let (body, _) = chunks(&rest[head + 4..]);
    assert!(body == long.as_bytes(), "{} of {}", body.len(), long.len());
}

#[actix_rt::test]
async fn a_query_that_can_not_be_read_is_400_in_the_envelope() {
    let relay = RunningRelay::start().await;
    for (path, said) in [
        (
            "/v1/responses/resp_1?stream=true&starting_after=1&starting_after=2",
            "starting_after",
        ),
        (
            "/v1/responses/resp_1/input_items?order=asc&order=desc",
            "order",
        ),
    ] {
        let (status, head, answer) = relay.get(path).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(header(&head, "content-type"), Some("application/json"));
        let answer: Value = serde_json::from_str(&answer).expect("an object");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(said), "{message}");
    }
}

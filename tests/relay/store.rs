//! What every store does, written against the trait: another implementation runs [`conforms`] with a `make` of its own.

use std::{pin::pin, time::Duration};

use actix_responses::{
    bytes::Bytes,
    store::{
        Append, Claim, Entries, MemoryStore, StoreError, StoreLimits, StreamEnd, StreamKey,
        StreamStore,
    },
};
use futures_util::{FutureExt as _, StreamExt as _};

const TTL: Duration = Duration::from_secs(30);

fn key(client: &str, id: &str) -> StreamKey {
    StreamKey {
        client: client.to_owned(),
        id: id.to_owned(),
    }
}

fn blocks(numbers: std::ops::RangeInclusive<u64>) -> Vec<Bytes> {
    let blocks = numbers.map(|number| format!("data: {number}\n\n").into());
    blocks.collect()
}

fn after(expected: u64, numbers: std::ops::RangeInclusive<u64>) -> Append {
    Append {
        expected,
        blocks: blocks(numbers),
        ..Append::default()
    }
}

fn end(expected: u64) -> Append {
    Append {
        expected,
        end: Some(StreamEnd::Completed),
        ..Append::default()
    }
}

async fn claimed(store: &impl StreamStore, stream: &StreamKey) -> Claim {
    claimed_by(store, stream, "node a", 1).await
}

async fn claimed_by(store: &impl StreamStore, stream: &StreamKey, node: &str, epoch: u64) -> Claim {
    let claim = store.claim(stream, node, epoch, TTL).await;
    claim.expect("a claim of what is new, or one's own")
}

/// All that a store promises. `make` gives an empty one with these limits; `pass` lets time pass, in the store's sense.
async fn conforms<S: StreamStore>(make: impl Fn(StoreLimits) -> S, pass: impl AsyncFn(Duration)) {
    let limits = StoreLimits::default();
    numbers_blocks_from_one_and_refuses_a_repeat(&make(limits.clone())).await;
    keeps_the_end_in_the_log(&make(limits.clone())).await;
    gives_a_tail_all_that_comes_and_the_end(&make(limits.clone())).await;
    says_a_cancel_to_the_writer_and_takes_no_number_for_it(&make(limits.clone())).await;
    refuses_who_lost_the_claim(&make(limits.clone()), &pass).await;
    shows_a_stream_to_its_client_alone(&make(limits.clone())).await;
    says_expired_to_a_tail_whose_stream_is_gone(&make(limits.clone())).await;
    let short = limits.clone().with_retention(Duration::from_secs(60));
    lets_streams_go_by_time(&make(short), &pass).await;
    let small = limits.clone().with_stream_bytes(40);
    never_trims_from_the_front(&make(small)).await;
    let small = limits.with_client_bytes(40).with_bytes(70);
    lets_the_oldest_ended_go_first(&make(small)).await;
}

async fn numbers_blocks_from_one_and_refuses_a_repeat(store: &impl StreamStore) {
    let stream = key("me", "s");
    assert_eq!(store.read(&stream, 1).await, Err(StoreError::Unknown));
    let claim = claimed(store, &stream).await;
    assert_eq!(store.append(&claim, after(0, 1..=3)).await, Ok(3));
    for expected in [0, 2, 4] {
        let refused = store.append(&claim, after(expected, 1..=3)).await;
        assert_eq!(refused, Err(StoreError::Conflict { blocks: 3 }));
    }
    assert_eq!(store.append(&claim, after(3, 4..=5)).await, Ok(5));
    let read = async |from| {
        let entries = store.read(&stream, from).await.expect("entries");
        (entries.first, entries.blocks, entries.end)
    };
    assert_eq!(read(1).await, (1, blocks(1..=5), None));
    assert_eq!(read(4).await, (4, blocks(4..=5), None));
    assert_eq!(read(6).await, (6, vec![], None));
}

async fn keeps_the_end_in_the_log(store: &impl StreamStore) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    let whole = Append {
        about: Some("about".into()),
        end: Some(StreamEnd::Failed),
        ..after(0, 1..=2)
    };
    assert_eq!(store.append(&claim, whole).await, Ok(2));
    let refused = store.append(&claim, after(2, 3..=3)).await;
    assert_eq!(refused, Err(StoreError::Ended));
    assert_eq!(
        store.append(&claim, end(2)).await,
        Err(StoreError::Ended),
        "a second end"
    );
    let entries = store.read(&stream, 1).await.expect("entries");
    assert_eq!(entries.end, Some(StreamEnd::Failed));
    let info = store.find("me", "s").await.expect("the stream");
    assert_eq!((info.blocks, &*info.about), (2, &b"about"[..]));
    assert_eq!(info.end, Some(StreamEnd::Failed));
}

async fn gives_a_tail_all_that_comes_and_the_end(store: &impl StreamStore) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    let all = async |from| {
        let mut tail = store.tail(&stream, from);
        let mut all = Vec::new();
        while let Some(entries) = tail.next().await {
            let entries = entries.expect("entries");
            assert_eq!(entries.first, from + all.len() as u64);
            all.extend(entries.blocks);
        }
        all
    };
    let write = async || {
        for number in 0..50 {
            let append = after(number, number + 1..=number + 1);
            assert_eq!(store.append(&claim, append).await, Ok(number + 1));
            tokio::task::yield_now().await;
        }
        assert_eq!(store.append(&claim, end(50)).await, Ok(50));
    };
    let (early, late, ()) = tokio::join!(all(1), all(20), write());
    assert_eq!((early, late), (blocks(1..=50), blocks(20..=50)));
    assert_eq!(all(51).await, Vec::<Bytes>::new());
}

async fn says_a_cancel_to_the_writer_and_takes_no_number_for_it(store: &impl StreamStore) {
    let stream = key("me", "s");
    assert_eq!(store.cancel(&stream).await, Err(StoreError::Unknown));
    let claim = claimed(store, &stream).await;
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    {
        let mut cancelled = pin!(store.cancelled(&claim));
        assert!(cancelled.as_mut().now_or_never().is_none());
        store.cancel(&stream).await.unwrap();
        cancelled.await.expect("a cancel");
    }
    store.cancelled(&claim).await.expect("the same, later");
    let last = Append {
        end: Some(StreamEnd::Cancelled),
        ..after(1, 2..=2)
    };
    assert_eq!(store.append(&claim, last).await, Ok(2));
    let gone = {
        let other = claimed(store, &key("me", "gone")).await;
        let mut cancelled = pin!(store.cancelled(&other));
        assert!(cancelled.as_mut().now_or_never().is_none());
        store.remove(&key("me", "gone")).await.unwrap();
        cancelled.await
    };
    assert_eq!(gone, Err(StoreError::Unknown));
}

async fn refuses_who_lost_the_claim(store: &impl StreamStore, pass: &impl AsyncFn(Duration)) {
    let stream = key("me", "s");
    let first = claimed(store, &stream).await;
    store.append(&first, after(0, 1..=1)).await.unwrap();
    let other = async |epoch| store.claim(&stream, "node b", epoch, TTL).await;
    let held = Err(StoreError::Claimed { epoch: 1 });
    assert_eq!(other(2).await, held, "while its time runs");
    claimed(store, &stream).await;
    pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(other(1).await, held, "with no greater epoch");
    let second = other(2).await.expect("a claim of what is free");
    let lost = Err(StoreError::Claimed { epoch: 2 });
    assert_eq!(store.append(&first, after(1, 2..=2)).await, lost);
    assert_eq!(store.append(&second, after(1, 2..=2)).await, Ok(2));
    // Released, it is free at once.
    let released = store.claim(&stream, "node b", 2, Duration::ZERO).await;
    released.expect("a release");
    let third = store.claim(&stream, "node a", 3, TTL).await;
    third.expect("a claim of what was released");
    // An append renews.
    pass(TTL - Duration::from_secs(1)).await;
    let third = claimed_by(store, &stream, "node a", 3).await;
    store.append(&third, after(2, 3..=3)).await.unwrap();
    pass(TTL - Duration::from_secs(1)).await;
    assert_eq!(other(4).await, Err(StoreError::Claimed { epoch: 3 }));
    let info = store.find("me", "s").await.unwrap();
    assert_eq!(info.epoch, 3);
    assert!(
        info.claimed_for
            .is_some_and(|left| left <= Duration::from_secs(2))
    );
    pass(Duration::from_secs(2)).await;
    let info = store.find("me", "s").await.unwrap();
    assert_eq!(info.claimed_for, None);
    // Nobody else took it: it is still the writer's. Of what has ended nobody becomes it.
    store.append(&third, end(3)).await.unwrap();
    pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(other(4).await, Err(StoreError::Ended));
}

async fn shows_a_stream_to_its_client_alone(store: &impl StreamStore) {
    for id in ["old", "new"] {
        let claim = claimed(store, &key("me", id)).await;
        let append = Append {
            aliases: vec!["resp_1".to_owned()],
            request: Some(id.into()),
            ..after(0, 1..=1)
        };
        store.append(&claim, append).await.unwrap();
    }
    let found = store.find("me", "resp_1").await.expect("by its alias");
    assert_eq!(found.stream, key("me", "new"), "the newest wins");
    for id in ["new", "resp_1"] {
        assert_eq!(store.find("other", id).await, Err(StoreError::Unknown));
    }
    assert_eq!(store.request(&found.stream).await, Ok("new".into()));
    assert_eq!(store.list("other").await, Ok(vec![]));
    assert_eq!(store.list("me").await.unwrap().len(), 2);
    let others = key("other", "new");
    assert_eq!(store.read(&others, 1).await, Err(StoreError::Unknown));
    assert_eq!(store.cancel(&others).await, Err(StoreError::Unknown));
    assert_eq!(store.remove(&others).await, Err(StoreError::Unknown));
    store.remove(&key("me", "new")).await.unwrap();
    assert_eq!(store.find("me", "resp_1").await, Err(StoreError::Unknown));
}

async fn says_expired_to_a_tail_whose_stream_is_gone(store: &impl StreamStore) {
    let stream = key("me", "s");
    let never = store.tail(&stream, 1).next().await;
    assert_eq!(never, Some(Err(StoreError::Unknown)));
    let claim = claimed(store, &stream).await;
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    let mut tail = store.tail(&stream, 1);
    tail.next().await.unwrap().unwrap();
    let mut next = pin!(tail.next());
    assert!(next.as_mut().now_or_never().is_none());
    store.remove(&stream).await.unwrap();
    assert_eq!(next.await, Some(Err(StoreError::Expired)));
    // Nobody begins it anew, by writing or by a claim: it was removed, not lost.
    let refused = store.append(&claim, after(1, 2..=2)).await;
    assert_eq!(refused, Err(StoreError::Unknown));
    let refused = store.claim(&stream, "node a", 1, TTL).await;
    assert_eq!(refused, Err(StoreError::Expired));
}

async fn lets_streams_go_by_time(store: &impl StreamStore, pass: &impl AsyncFn(Duration)) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    pass(Duration::from_secs(40)).await;
    store.append(&claim, end(1)).await.unwrap();
    pass(Duration::from_secs(40)).await;
    store.read(&stream, 1).await.expect("within its time");
    pass(Duration::from_secs(40)).await;
    assert_eq!(store.read(&stream, 1).await, Err(StoreError::Unknown));
}

async fn never_trims_from_the_front(store: &impl StreamStore) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    assert_eq!(store.append(&claim, after(0, 1..=4)).await, Ok(4));
    let mut tail = store.tail(&stream, 5);
    assert!(tail.next().now_or_never().is_none());
    let over = store.append(&claim, after(4, 5..=5)).await;
    assert_eq!(over, Err(StoreError::TooLarge));
    assert_eq!(tail.next().await, Some(Err(StoreError::TooLarge)));
    assert_eq!(store.read(&stream, 1).await, Err(StoreError::TooLarge));
    let again = store.append(&claim, after(4, 5..=5)).await;
    assert_eq!(again, Err(StoreError::TooLarge));
}

async fn lets_the_oldest_ended_go_first(store: &impl StreamStore) {
    let write = async |client: &str, id: &str, ends| {
        let claim = claimed(store, &key(client, id)).await;
        let append = Append {
            end: ends,
            ..after(0, 1..=2)
        };
        store.append(&claim, append).await
    };
    let ended = Some(StreamEnd::Completed);
    let is_there = async |client: &str, id: &str| {
        let read: Result<Entries, _> = store.read(&key(client, id), 1).await;
        read.is_ok()
    };
    // 18 bytes each: a client has room for two, the store for three.
    write("me", "runs", None).await.unwrap();
    write("me", "1", ended).await.unwrap();
    write("me", "2", ended).await.unwrap();
    assert!(!is_there("me", "1").await && is_there("me", "2").await);
    assert!(is_there("me", "runs").await);
    write("other", "3", ended).await.unwrap();
    write("third", "4", None).await.unwrap();
    assert!(!is_there("me", "2").await && is_there("other", "3").await);
    // Only running ones are left of this client: what comes is over.
    write("third", "5", None).await.unwrap();
    let over = write("third", "6", ended).await;
    assert_eq!(over, Err(StoreError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_conforms() {
    conforms(MemoryStore::new, tokio::time::advance).await;
}

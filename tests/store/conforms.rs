//! What every store does, written against the trait: another implementation runs [`conforms`] with a `make` of its own.

use std::{pin::pin, time::Duration};

use actix_responses::{
    bytes::Bytes,
    store::{Append, Claim, Entries, StoreError, StoreLimits, StreamEnd, StreamKey, StreamStore},
};
use futures_util::{FutureExt as _, StreamExt as _};

/// A second of the suite. Where time has to be waited for it is shorter.
#[derive(Clone, Copy)]
pub(crate) struct Second(pub(crate) Duration);

impl Second {
    fn times(self, seconds: u32) -> Duration {
        self.0 * seconds
    }

    /// How long claims hold.
    fn ttl(self) -> Duration {
        self.times(30)
    }
}

/// How long those hold where no time passes.
pub(crate) const TTL: Duration = Duration::from_secs(30);

pub(crate) fn key(client: &str, id: &str) -> StreamKey {
    StreamKey {
        client: client.to_owned(),
        id: id.to_owned(),
    }
}

pub(crate) fn blocks(numbers: std::ops::RangeInclusive<u64>) -> Vec<Bytes> {
    let blocks = numbers.map(|number| format!("data: {number}\n\n").into());
    blocks.collect()
}

pub(crate) fn after(expected: u64, numbers: std::ops::RangeInclusive<u64>) -> Append {
    Append {
        expected,
        blocks: blocks(numbers),
        ..Append::default()
    }
}

pub(crate) fn end(expected: u64) -> Append {
    Append {
        expected,
        end: Some(StreamEnd::Completed),
        ..Append::default()
    }
}

pub(crate) async fn claimed(store: &impl StreamStore, stream: &StreamKey) -> Claim {
    let claim = store.claim(stream, "node a", 1, TTL).await;
    claim.expect("a claim of what is new, or one's own")
}

/// All that a store promises. `make` gives an empty one with these limits; `pass` lets time pass, in the store's sense.
pub(crate) async fn conforms<S: StreamStore>(
    make: impl Fn(StoreLimits) -> S,
    second: Second,
    pass: impl AsyncFn(Duration),
) {
    let limits = StoreLimits::default();
    numbers_blocks_from_one_and_refuses_a_repeat(&make(limits.clone())).await;
    keeps_the_end_in_the_log(&make(limits.clone())).await;
    gives_a_tail_all_that_comes_and_the_end(&make(limits.clone())).await;
    says_a_cancel_to_the_writer_and_takes_no_number_for_it(&make(limits.clone())).await;
    refuses_who_lost_the_claim(&make(limits.clone()), second, &pass).await;
    shows_a_stream_to_its_client_alone(&make(limits.clone())).await;
    says_expired_to_a_tail_whose_stream_is_gone(&make(limits.clone())).await;
    let short = limits.clone().with_retention(second.times(60));
    lets_streams_go_by_time(&make(short.clone()), second, &pass).await;
    keeps_a_stream_whose_writer_waits(&make(short), second, &pass).await;
    let small = limits.with_stream_bytes(40);
    never_trims_from_the_front(&make(small.clone())).await;
    counts_what_is_beside_the_blocks_once(&make(small)).await;
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
    // Who is ahead of all that ever comes hears of the end.
    let mut tail = store.tail(&stream, 60);
    let last = tail.next().await.expect("the end").expect("entries");
    assert_eq!((last.first, last.end), (51, Some(StreamEnd::Completed)));
    let short = key("me", "short");
    let claim = claimed(store, &short).await;
    let mut tail = store.tail(&short, 60);
    assert!(tail.next().now_or_never().is_none());
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    tokio::task::yield_now().await;
    assert!(tail.next().now_or_never().is_none());
    store.append(&claim, end(1)).await.unwrap();
    let last = tail.next().await.expect("the end").expect("entries");
    assert_eq!((last.first, last.end), (2, Some(StreamEnd::Completed)));
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

async fn refuses_who_lost_the_claim(
    store: &impl StreamStore,
    second: Second,
    pass: &impl AsyncFn(Duration),
) {
    let stream = key("me", "s");
    let claim_as = async |node, epoch| store.claim(&stream, node, epoch, second.ttl()).await;
    let first = claim_as("node a", 1).await.expect("a claim of what is new");
    store.append(&first, after(0, 1..=1)).await.unwrap();
    let other = async |epoch| claim_as("node b", epoch).await;
    let held = Err(StoreError::Claimed { epoch: 1 });
    assert_eq!(other(2).await, held, "while its time runs");
    claim_as("node a", 1).await.expect("one's own again");
    pass(second.times(31)).await;
    assert_eq!(other(1).await, held, "with no greater epoch");
    let taken = other(2).await.expect("a claim of what is free");
    let lost = Err(StoreError::Claimed { epoch: 2 });
    assert_eq!(store.append(&first, after(1, 2..=2)).await, lost);
    assert_eq!(store.append(&first, after(7, 8..=8)).await, lost, "first");
    assert_eq!(store.append(&taken, after(1, 2..=2)).await, Ok(2));
    // Released, it is free at once.
    let released = store.claim(&stream, "node b", 2, Duration::ZERO).await;
    released.expect("a release");
    let info = store.find("me", "s").await.unwrap();
    assert_eq!((info.claimed_for, info.is_released), (None, true));
    let third = claim_as("node a", 3).await;
    third.expect("a claim of what was released");
    // An append renews.
    pass(second.times(20)).await;
    let third = claim_as("node a", 3).await.expect("one's own");
    store.append(&third, after(2, 3..=3)).await.unwrap();
    pass(second.times(20)).await;
    assert_eq!(other(4).await, Err(StoreError::Claimed { epoch: 3 }));
    let info = store.find("me", "s").await.unwrap();
    assert_eq!(info.epoch, 3);
    assert!(
        info.claimed_for
            .is_some_and(|left| left <= second.times(10))
    );
    pass(second.times(11)).await;
    let info = store.find("me", "s").await.unwrap();
    assert_eq!((info.claimed_for, info.is_released), (None, false));
    // Nobody else took it: it is still the writer's. Of what has ended nobody becomes it.
    store.append(&third, end(3)).await.unwrap();
    pass(second.times(31)).await;
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

async fn lets_streams_go_by_time(
    store: &impl StreamStore,
    second: Second,
    pass: &impl AsyncFn(Duration),
) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    let named = Append {
        aliases: vec!["resp_1".to_owned()],
        ..after(0, 1..=1)
    };
    store.append(&claim, named).await.unwrap();
    pass(second.times(40)).await;
    store.append(&claim, end(1)).await.unwrap();
    pass(second.times(40)).await;
    store.read(&stream, 1).await.expect("within its time");
    let found = store.find("me", "resp_1").await;
    found.expect("its alias stays as long");
    pass(second.times(40)).await;
    assert_eq!(store.read(&stream, 1).await, Err(StoreError::Unknown));
    assert_eq!(store.list("me").await, Ok(vec![]));
}

/// Its server thinks for longer than a stream is kept.
async fn keeps_a_stream_whose_writer_waits(
    store: &impl StreamStore,
    second: Second,
    pass: &impl AsyncFn(Duration),
) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    store.append(&claim, after(0, 1..=1)).await.unwrap();
    for _ in 0..2 {
        pass(second.times(40)).await;
        claimed(store, &stream).await;
    }
    store.append(&claim, end(1)).await.expect("its stream");
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

/// A writer repeats it where an answer was lost.
async fn counts_what_is_beside_the_blocks_once(store: &impl StreamStore) {
    let stream = key("me", "s");
    let claim = claimed(store, &stream).await;
    let beside = |expected, about: usize, request: usize| Append {
        expected,
        about: Some(vec![b'a'; about].into()),
        request: Some(vec![b'r'; request].into()),
        ..Append::default()
    };
    for _ in 0..3 {
        assert_eq!(store.append(&claim, beside(0, 10, 20)).await, Ok(0));
    }
    assert_eq!(store.append(&claim, after(0, 1..=1)).await, Ok(1));
    // 39 of 40 bytes. What is shorter makes room.
    assert_eq!(store.append(&claim, beside(1, 2, 19)).await, Ok(1));
    assert_eq!(store.append(&claim, after(1, 2..=2)).await, Ok(2));
    let over = store.append(&claim, beside(2, 3, 20)).await;
    assert_eq!(over, Err(StoreError::TooLarge));
}

/// Of a store that has bounds for all of a client's streams.
pub(crate) async fn lets_the_oldest_ended_go_first(store: &impl StreamStore) {
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

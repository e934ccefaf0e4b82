//! One writer of a stream, and those who read it elsewhere, over a store that fails. The clock is paused.

use std::{sync::Arc, time::Duration};

use actix_responses::{
    bytes::Bytes,
    futures_core::Stream,
    store::{
        Entries, StoreError, StoreLimits, StreamEnd, StreamInfo, StreamKey, StreamStore,
        follow::{Followed, follow, follow_lost},
        recorder::{Begin, Held, Recorder, RecorderSettings, RecorderState},
    },
    testing::FaultyStore,
};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, advance, sleep, timeout};

const END: StreamEnd = StreamEnd::Completed;

fn key() -> StreamKey {
    StreamKey {
        client: "me".to_owned(),
        id: "s".to_owned(),
    }
}

fn block(number: u64) -> Bytes {
    format!("data: {number}\n\n").into()
}

fn blocks(numbers: std::ops::RangeInclusive<u64>) -> Vec<Bytes> {
    numbers.map(block).collect()
}

fn store() -> FaultyStore {
    FaultyStore::new(StoreLimits::default())
}

fn settings() -> RecorderSettings {
    RecorderSettings::default().with_ticks_from(Instant::now())
}

fn start(store: &FaultyStore, begin: Begin) -> Recorder {
    start_with(store, begin, settings())
}

fn start_with(store: &FaultyStore, begin: Begin, settings: RecorderSettings) -> Recorder {
    Recorder::start(Arc::new(store.clone()), key(), "node a", begin, settings)
}

type Reader = std::pin::Pin<Box<dyn Stream<Item = Result<Followed, StoreError>> + Send>>;

fn reader(store: &FaultyStore, from: u64) -> Reader {
    Box::pin(follow(
        Arc::new(store.clone()),
        key(),
        from,
        "node b",
        settings(),
    ))
}

/// Some milliseconds pass, and all that is due in them.
async fn pass(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

/// What lies in the store.
async fn stored(store: &FaultyStore) -> Entries {
    let entries = store.other_node().read(&key(), 1).await;
    entries.expect("a stream in the store")
}

async fn info(store: &FaultyStore) -> StreamInfo {
    let info = store.other_node().find("me", "s").await;
    info.expect("a stream in the store")
}

fn whole(last: u64) -> Entries {
    Entries {
        first: 1,
        blocks: blocks(1..=last),
        end: Some(END),
    }
}

/// All that comes to a reader until its end or its error; nobody dies.
async fn read_all(mut reader: Reader) -> Result<(Vec<Bytes>, StreamEnd), StoreError> {
    let mut all = Vec::new();
    while let Some(followed) = reader.next().await {
        let Followed::Entries(entries) = followed? else {
            panic!("its writer lives");
        };
        all.extend(entries.blocks);
        if let Some(end) = entries.end {
            assert!(reader.next().await.is_none(), "nothing behind the end");
            return Ok((all, end));
        }
    }
    panic!("neither an end nor an error");
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_written_together_and_the_end_at_once() {
    let store = store();
    let recorder = start(&store, Begin::default());
    assert_eq!(recorder.claimed().await, Ok(()));
    for number in 1..=10 {
        recorder.push([block(number)]);
        pass(1).await;
    }
    pass(20).await;
    assert_eq!(stored(&store).await.blocks, blocks(1..=10));
    assert_eq!(store.calls("append"), 1);
    recorder.push([block(11)]);
    recorder.end(END);
    let said = Instant::now();
    assert_eq!(recorder.ended().await, RecorderState::Done);
    assert_eq!(said.elapsed(), Duration::ZERO);
    assert_eq!(stored(&store).await, whole(11));
    // What comes after the end is nothing, another end, too.
    recorder.push([block(12)]);
    recorder.end(StreamEnd::Failed);
    pass(10_000).await;
    assert_eq!(stored(&store).await, whole(11));
}

#[tokio::test(start_paused = true)]
async fn streams_are_written_at_the_same_moments() {
    let store = store();
    let began = Instant::now();
    let recorder = start_with(&store, Begin::default(), settings().with_ticks_from(began));
    recorder.claimed().await.unwrap();
    for offset in [3, 20, 11] {
        pass(offset).await;
        recorder.push([block(1)]);
        recorder.push([block(1)]);
        let before = store.calls("append");
        let since = Instant::now();
        while store.calls("append") == before {
            pass(1).await;
        }
        assert!(since.elapsed() <= Duration::from_millis(20));
        // `pass` looks at the same moment, or a millisecond later.
        assert!(began.elapsed().as_millis() % 20 <= 1);
    }
    // 3 -> 20, 40 -> 60 (or at once, on the tick), 71 -> 80.
    assert_eq!(stored(&store).await.blocks.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_beside_the_blocks_is_written_and_found() {
    let store = store();
    let begin = Begin {
        about: Some("begun".into()),
        request: Some("asked".into()),
        aliases: vec!["ours".to_owned()],
        ..Begin::default()
    };
    let recorder = start(&store, begin);
    pass(30).await;
    assert_eq!(info(&store).await.about, "begun");
    assert_eq!(store.request(&key()).await, Ok("asked".into()));
    recorder.add_alias("resp_1".to_owned());
    recorder.set_about("answers".into());
    pass(30).await;
    for id in ["ours", "resp_1"] {
        let found = store.find("me", id).await.unwrap();
        assert_eq!(found.about, "answers");
    }
    assert_eq!(store.calls("append"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_keeps_its_claim() {
    let store = store();
    let recorder = start(&store, Begin::default());
    for _ in 0..60 {
        pass(1000).await;
        assert!(info(&store).await.claimed_for.is_some());
    }
    // Every third of its time.
    assert!(store.calls("append") <= 24);
    assert_eq!(recorder.state(), RecorderState::Storing);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_holds_an_end_for_a_tenth_of_a_second_and_gets_all_later() {
    let store = store();
    store.set_down(true);
    let recorder = start(&store, Begin::default());
    let refused = recorder.claimed().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    recorder.push(blocks(1..=3));
    pass(60_000).await;
    recorder.push(blocks(4..=5));
    recorder.end(END);
    let said = Instant::now();
    let state = recorder.ended().await;
    assert!(matches!(state, RecorderState::Behind(since) if since < said));
    assert_eq!(said.elapsed(), Duration::from_millis(100));
    // Asked again it does not wait again.
    recorder.ended().await;
    assert_eq!(said.elapsed(), Duration::from_millis(100));
    store.set_down(false);
    timeout(Duration::from_secs(2), recorder.finished())
        .await
        .expect("within its longest wait");
    assert_eq!(stored(&store).await, whole(5));
    // It asked about once a second.
    assert!(store.calls("claim") < 80, "{}", store.calls("claim"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_nobody() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.claimed().await.unwrap();
    store.set_delays([Duration::from_secs(3600)]);
    recorder.push(blocks(1..=2));
    recorder.end(END);
    let said = Instant::now();
    recorder.ended().await;
    assert_eq!(said.elapsed(), Duration::from_millis(100));
    pass(10_000).await;
    store.set_delays([]);
    timeout(Duration::from_secs(3), recorder.finished())
        .await
        .expect("the commands that hang are given up");
    assert_eq!(stored(&store).await, whole(2));
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_was_lost_is_not_repeated() {
    for ends in [false, true] {
        let store = store();
        let recorder = start(&store, Begin::default());
        recorder.claimed().await.unwrap();
        store.lose_answers(1);
        recorder.push(blocks(1..=3));
        if ends {
            recorder.end(END);
        }
        pass(200).await;
        recorder.push(blocks(4..=4));
        recorder.end(END);
        recorder.finished().await;
        assert_eq!(recorder.state(), RecorderState::Done);
        assert_eq!(stored(&store).await, whole(if ends { 3 } else { 4 }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_late_changes_nothing() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.claimed().await.unwrap();
    // The first append takes five seconds, and its repeat is done before.
    store.set_delays([Duration::from_secs(10), Duration::ZERO, Duration::ZERO]);
    recorder.push(blocks(1..=3));
    pass(2000).await;
    store.set_delays([]);
    recorder.push(blocks(4..=5));
    pass(10_000).await;
    recorder.end(END);
    recorder.finished().await;
    assert_eq!(stored(&store).await, whole(5));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_lost_is_written_again() {
    for ended in [false, true] {
        for all in [false, true] {
            let store = store();
            let begin = Begin {
                about: Some("about".into()),
                aliases: vec!["resp_1".to_owned()],
                ..Begin::default()
            };
            let recorder = start(&store, begin);
            recorder.push(blocks(1..=3));
            pass(100).await;
            store.remember();
            recorder.push(blocks(4..=6));
            if ended {
                recorder.end(END);
                recorder.finished().await;
            }
            pass(100).await;
            if all {
                store.lose_all();
            } else {
                store.go_back();
            }
            // Nothing is pushed: that a connection broke off is enough, and an end is looked after.
            pass(2200).await;
            let entries = stored(&store).await;
            assert_eq!(entries.blocks, blocks(1..=6), "{ended} {all}");
            assert_eq!(entries.end, ended.then_some(END));
            assert_eq!(store.find("me", "resp_1").await.unwrap().about, "about");
            recorder.end(END);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removed_is_not_written_again() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    pass(100).await;
    store.other_node().remove(&key()).await.unwrap();
    recorder.push(blocks(4..=5));
    recorder.end(END);
    let state = recorder.ended().await;
    assert_eq!(state, RecorderState::GivenUp(StoreError::Expired));
    pass(60_000).await;
    assert_eq!(store.read(&key(), 1).await, Err(StoreError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_claim_writes_nothing_more() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    pass(100).await;
    store.set_down(true);
    pass(9000).await;
    let other = store.other_node();
    let (stream, ttl) = (key(), Duration::from_secs(8));
    let claim = other.claim(&stream, "node b", 2, ttl).await;
    claim.expect("a claim whose time is over");
    recorder.push(blocks(4..=5));
    assert!(recorder.lost().now_or_never().is_none());
    store.set_down(false);
    let lost = timeout(Duration::from_secs(2), recorder.lost()).await;
    lost.expect("it is told");
    assert_eq!(recorder.ended().await, RecorderState::Lost);
    recorder.push(blocks(6..=6));
    recorder.end(END);
    pass(10_000).await;
    assert_eq!(stored(&store).await.blocks, blocks(1..=3));
    assert_eq!(info(&store).await.end, None);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_time_is_over_is_still_ours_if_nobody_took_it() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    pass(100).await;
    store.set_down(true);
    pass(3_600_000).await;
    store.set_down(false);
    recorder.push(blocks(4..=4));
    recorder.end(END);
    recorder.finished().await;
    assert_eq!(stored(&store).await, whole(4));
}

#[tokio::test(start_paused = true)]
async fn a_release_writes_what_was_pushed_and_lets_others_claim() {
    for by_drop in [false, true] {
        let store = store();
        let recorder = start(&store, Begin::default());
        recorder.claimed().await.unwrap();
        recorder.push(blocks(1..=3));
        if by_drop {
            drop(recorder);
            pass(1).await;
        } else {
            recorder.release();
            assert_eq!(recorder.ended().await, RecorderState::Released);
            recorder.push(blocks(4..=4));
            recorder.end(END);
        }
        pass(10).await;
        let info = info(&store).await;
        assert_eq!((info.blocks, info.claimed_for, info.end), (3, None, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_stream_is_written_at_each_tick_and_one_that_paused_when_it_goes_on() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.claimed().await.unwrap();
    pass(3).await;
    let (mut now, mut ticks) = (3, Vec::new());
    for pause in [
        20, 20, 20, 20, 15, 5, 25, 30, 20, 45, 20, 20, 60, 7000, 20, 20,
    ] {
        ticks.push(20 * (now / 20 + 1));
        recorder.push([block(ticks.len() as u64)]);
        pass(pause).await;
        now += pause;
        let due = ticks.iter().filter(|tick| **tick < now).count();
        assert_eq!(info(&store).await.blocks, due as u64, "after {now} ms");
    }
    let appends = store.calls("append");
    assert!(appends <= 20, "{appends} appends");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_the_writer_wherever_it_is_said() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=1));
    pass(100).await;
    assert!(recorder.cancelled().now_or_never().is_none());
    // Its connection breaks off, and comes back.
    store.set_down(true);
    pass(500).await;
    store.other_node().cancel(&key()).await.unwrap();
    pass(500).await;
    store.set_down(false);
    let cancelled = timeout(Duration::from_secs(2), recorder.cancelled()).await;
    cancelled.expect("a cancel that was said meanwhile");
    recorder.end(StreamEnd::Cancelled);
    recorder.finished().await;
    assert_eq!(info(&store).await.end, Some(StreamEnd::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn more_than_is_kept_is_given_up_and_taken_out_of_the_store() {
    let (store, held) = (store(), Arc::new(Held::new(1 << 20)));
    let settings = settings().with_missing_bytes(100).with_held(held.clone());
    let recorder = start_with(&store, Begin::default(), settings);
    // What the store has may be longer.
    for number in 1..=50 {
        recorder.push([block(number)]);
        pass(30).await;
    }
    assert!(held.bytes() <= 100);
    assert_eq!(info(&store).await.blocks, 50);
    store.set_down(true);
    recorder.push(blocks(51..=60));
    let state = recorder.state();
    assert!(
        matches!(state, RecorderState::Storing | RecorderState::Behind(_)),
        "{state:?}"
    );
    recorder.push(blocks(61..=70));
    pass(2000).await;
    let given_up = RecorderState::GivenUp(StoreError::TooLarge);
    assert_eq!(recorder.state(), given_up);
    assert_eq!(held.bytes(), 0);
    store.set_down(false);
    pass(2000).await;
    assert_eq!(store.read(&key(), 1).await, Err(StoreError::Unknown));
    recorder.end(END);
    assert_eq!(recorder.ended().await, given_up);
}

#[tokio::test(start_paused = true)]
async fn all_recorders_together_keep_no_more_than_their_bound() {
    let (store, held) = (store(), Arc::new(Held::new(1000)));
    store.set_down(true);
    let recorders: Vec<_> = (0..10)
        .map(|_| start_with(&store, Begin::default(), settings().with_held(held.clone())))
        .collect();
    for number in 1..=100 {
        for recorder in &recorders {
            recorder.push([block(number)]);
            assert!(held.bytes() <= 1000);
        }
    }
    pass(5000).await;
    let given_up = recorders.iter().filter(|one| one.state().is_over());
    assert!((1..10).contains(&given_up.count()));
    drop(recorders);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_has_of_others_is_no_reason_to_give_one_up() {
    let (store, held) = (store(), Arc::new(Held::new(1000)));
    let start = |id: &str| {
        let stream = StreamKey {
            id: id.to_owned(),
            ..key()
        };
        let settings = settings().with_held(held.clone());
        let store = Arc::new(store.clone());
        Recorder::start(store, stream, "node a", Begin::default(), settings)
    };
    let old = start("old");
    old.push([Bytes::from(vec![b'x'; 990])]);
    pass(100).await;
    let young = start("young");
    young.push([block(1), block(2), block(3)]);
    pass(100).await;
    for recorder in [&old, &young] {
        assert_eq!(recorder.state(), RecorderState::Storing);
    }
    // What is held has a bound all the same: twice that of what is missing.
    let many: Vec<_> = (0..20).map(|number| start(&number.to_string())).collect();
    for _ in 0..10 {
        for recorder in &many {
            recorder.push([Bytes::from(vec![b'x'; 90])]);
        }
        pass(30).await;
        assert!(held.bytes() <= 2000, "{}", held.bytes());
    }
    let given_up = many.iter().filter(|one| one.state().is_over());
    // 1800 bytes at once, of which 1000 may be missing.
    assert_eq!(given_up.count(), 9);
    drop((old, young, many));
    pass(100).await;
    assert_eq!(held.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_is_held_too_and_goes_first() {
    let (store, held) = (store(), Arc::new(Held::new(1000)));
    let begin = || Begin {
        about: Some("about".into()),
        request: Some(vec![b'x'; 600].into()),
        ..Begin::default()
    };
    let start = |begin: Begin, id: &str| {
        let stream = StreamKey {
            id: id.to_owned(),
            ..key()
        };
        let settings = settings().with_held(held.clone());
        let store = Arc::new(store.clone());
        Recorder::start(store, stream, "node a", begin, settings)
    };
    let first = start(begin(), "first");
    assert_eq!(held.bytes(), 605);
    pass(100).await;
    first.set_about("more is known".into());
    first.push([Bytes::from(vec![b'x'; 100])]);
    pass(100).await;
    assert_eq!(held.bytes(), 713);
    // The store has it: there is room for another's.
    let second = start(begin(), "second");
    pass(100).await;
    assert_eq!(second.state(), RecorderState::Storing);
    assert_eq!(held.bytes(), 713 + 5);
    // What is written again has no request then, and all blocks.
    store.lose_all();
    pass(2000).await;
    let stream = StreamKey {
        id: "first".to_owned(),
        ..key()
    };
    assert_eq!(store.read(&stream, 1).await.unwrap().blocks.len(), 1);
    assert_eq!(store.request(&stream).await.unwrap().len(), 600);
    // Where the store is away, only so much is held of what it misses.
    store.set_down(true);
    let [third, fourth] = [start(begin(), "third"), start(begin(), "fourth")];
    pass(100).await;
    assert!(!third.state().is_over());
    let given_up = RecorderState::GivenUp(StoreError::TooLarge);
    assert_eq!(fourth.state(), given_up);
    assert!(held.bytes() <= 2000);
    drop((first, second, third, fourth));
    store.set_down(false);
    pass(2000).await;
    assert_eq!(held.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_written_in_pieces_without_a_wait() {
    let store = FaultyStore::new(StoreLimits::default().with_stream_bytes(64 << 20));
    store.set_down(true);
    let recorder = start(&store, Begin::default());
    let long = Bytes::from(vec![b'x'; 100 << 10]);
    recorder.push(std::iter::repeat_n(long, 70));
    recorder.end(END);
    pass(5000).await;
    store.set_down(false);
    pass(1100).await;
    assert_eq!(recorder.state(), RecorderState::Done);
    assert!(store.calls("append") >= 30);
}

#[tokio::test(start_paused = true)]
async fn what_is_long_has_the_time_that_it_takes() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.claimed().await.unwrap();
    // Of a block, an eighth of a claim's time would be over by then.
    store.set_delays([Duration::from_secs(3)]);
    recorder.push([Bytes::from(vec![b'x'; 4 << 20])]);
    pass(3100).await;
    assert_eq!(recorder.state(), RecorderState::Storing);
    assert_eq!(store.calls("append"), 1);
    recorder.push([block(2)]);
    pass(1500).await;
    assert!(matches!(recorder.state(), RecorderState::Behind(_)));
}

#[tokio::test(start_paused = true)]
async fn a_tail_hears_of_no_answer_that_is_lost() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=1));
    pass(100).await;
    store.lose_answers(1);
    let mut tail = store.tail(&key(), 1);
    assert!(tail.next().await.unwrap().is_ok());
    let found = store.find("me", "s").await;
    assert!(matches!(found, Err(StoreError::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stream_over_the_stores_bound_is_given_up() {
    let store = FaultyStore::new(StoreLimits::default().with_stream_bytes(40));
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=10));
    pass(100).await;
    let given_up = RecorderState::GivenUp(StoreError::TooLarge);
    assert_eq!(recorder.state(), given_up);
    assert_eq!(read_all(reader(&store, 1)).await, Err(StoreError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn readers_elsewhere_get_each_block_once_and_the_end() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.claimed().await.unwrap();
    let elsewhere = store.other_node();
    let early = tokio::spawn(read_all(reader(&elsewhere, 1)));
    let late = tokio::spawn(read_all(reader(&elsewhere, 40)));
    for number in 1..=50 {
        recorder.push([block(number)]);
        pass(7).await;
        match number {
            // Each cut is shorter than what the claim lasts.
            10 | 30 => elsewhere.set_down(true),
            12 | 35 => elsewhere.set_down(false),
            20 => store.lose_all(),
            _ => {}
        }
    }
    recorder.end(END);
    assert_eq!(early.await.unwrap(), Ok((blocks(1..=50), END)));
    assert_eq!(late.await.unwrap(), Ok((blocks(40..=50), END)));
    let behind = read_all(reader(&elsewhere, 51)).await;
    assert_eq!(behind, Ok((vec![], END)));
    // Who has more than there is, and who has as many and no end, gets what says how it ended.
    for from in [52, 70] {
        let ahead = read_all(reader(&elsewhere, from)).await;
        assert_eq!(ahead, Ok((blocks(50..=50), END)));
    }
    let store = Arc::new(elsewhere);
    let lost = follow_lost(store.clone(), key(), 51, "node b", settings());
    assert_eq!(read_all(Box::pin(lost)).await, Ok((blocks(50..=50), END)));
    let never = StreamKey {
        id: "never".to_owned(),
        ..key()
    };
    let never = follow(store, never, 1, "node b", settings());
    assert_eq!(read_all(Box::pin(never)).await, Err(StoreError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_reader_becomes_the_writer_of_a_stream_whose_node_is_gone() {
    let store = store();
    let settings = settings();
    let (recorder, task) = Recorder::new(
        Arc::new(store.clone()),
        key(),
        "node a",
        Begin::default(),
        settings.clone(),
    );
    let node = tokio::spawn(task);
    recorder.push(blocks(1..=3));
    pass(100).await;
    node.abort();
    let died = Instant::now();
    let elsewhere = store.other_node();
    let [mut one, mut two] = [reader(&elsewhere, 1), reader(&elsewhere, 3)];
    for reader in [&mut one, &mut two] {
        let first = reader.next().await;
        assert!(matches!(first, Some(Ok(Followed::Entries(_)))));
    }
    // One of two on the same node.
    let (orphan, mut other) = tokio::select! {
        orphan = one.next() => (orphan, two),
        orphan = two.next() => (orphan, one),
    };
    let Some(Ok(Followed::Orphan { claim, info })) = orphan else {
        panic!("it has no writer: {orphan:?}");
    };
    assert!(died.elapsed() <= settings.ttl * 5 / 4);
    assert!(died.elapsed() >= settings.ttl);
    assert_eq!((claim.epoch, info.blocks), (2, 3));
    let begin = Begin {
        epoch: claim.epoch,
        blocks: info.blocks,
        ..Begin::default()
    };
    let elsewhere = Arc::new(elsewhere);
    let next = Recorder::start(elsewhere, key(), &claim.node, begin, settings);
    pass(20_000).await;
    assert!(other.next().now_or_never().is_none(), "it has a writer");
    next.push([block(4)]);
    next.end(END);
    assert_eq!(next.ended().await, RecorderState::Done);
    let last = other.next().await;
    let Some(Ok(Followed::Entries(entries))) = last else {
        panic!("the end: {last:?}");
    };
    assert_eq!((entries.first, entries.end), (4, Some(END)));
    drop(recorder);
    pass(10_000).await;
    assert_eq!(stored(&store).await, whole(4));
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_found_again() {
    let store = store();
    let shortest = Duration::from_millis(1);
    let claim = store.claim(&key(), "node a", 1, shortest).await;
    claim.expect("a claim that is over at once");
    let elsewhere = store.other_node();
    elsewhere.set_delays([Duration::from_millis(20)]);
    let began = Instant::now();
    let mut reader = reader(&elsewhere, 1);
    let next = tokio::spawn(async move { reader.next().await });
    while elsewhere.calls("find") < 2 {
        pass(5).await;
    }
    assert_eq!(elsewhere.calls("claim"), 0);
    elsewhere.lose_answers(1);
    let orphan = next.await.unwrap();
    assert!(matches!(&orphan, Some(Ok(Followed::Orphan { claim, .. })) if claim.epoch == 2));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_released_is_taken_at_the_first_look() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    recorder.release();
    assert_eq!(recorder.ended().await, RecorderState::Released);
    let elsewhere = store.other_node();
    let (began, mut reader) = (Instant::now(), reader(&elsewhere, 4));
    let orphan = reader.next().await;
    assert!(matches!(&orphan, Some(Ok(Followed::Orphan { claim, .. })) if claim.epoch == 2));
    assert!(began.elapsed() < Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_robbed_of_a_stream_because_the_store_was_away() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    pass(100).await;
    let elsewhere = store.other_node();
    let early = tokio::spawn(read_all(reader(&elsewhere, 1)));
    pass(100).await;
    // Its claim is over long before the store is back.
    for node in [&store, &elsewhere] {
        node.set_down(true);
    }
    pass(20_000).await;
    for node in [&store, &elsewhere] {
        node.set_down(false);
    }
    let late = tokio::spawn(read_all(reader(&elsewhere, 1)));
    pass(5000).await;
    recorder.push([block(4)]);
    recorder.end(END);
    for reader in [early, late] {
        assert_eq!(reader.await.unwrap(), Ok((blocks(1..=4), END)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_empty_is_written_again_for_those_who_waited() {
    // Longer than a claim holds, shorter than a reader waits.
    for outage in [9_000, 20_000, 28_000] {
        let store = store();
        let recorder = start(&store, Begin::default());
        recorder.push(blocks(1..=3));
        pass(100).await;
        let elsewhere = store.other_node();
        let [early, late] = [1, 4].map(|from| tokio::spawn(read_all(reader(&elsewhere, from))));
        pass(100).await;
        for node in [&store, &elsewhere] {
            node.set_down(true);
        }
        pass(outage).await;
        store.lose_all();
        // Its readers are there first.
        elsewhere.set_down(false);
        pass(1500).await;
        store.set_down(false);
        pass(1500).await;
        recorder.push([block(4)]);
        recorder.end(END);
        assert_eq!(early.await.unwrap(), Ok((blocks(1..=4), END)), "{outage}");
        assert_eq!(late.await.unwrap(), Ok((blocks(4..=4), END)), "{outage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_a_store_as_long_as_it_has_patience() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    pass(100).await;
    let elsewhere = store.other_node();
    let mut reader = reader(&elsewhere, 4);
    assert!(reader.next().now_or_never().is_none());
    elsewhere.set_down(true);
    let since = Instant::now();
    let failed = reader.next().await;
    assert!(matches!(failed, Some(Err(StoreError::Unavailable(_)))));
    let waited = since.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(32));
    assert!(reader.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_away_ends_its_readers() {
    let store = store();
    let recorder = start(&store, Begin::default());
    recorder.push(blocks(1..=3));
    pass(100).await;
    let elsewhere = store.other_node();
    let reader = tokio::spawn(read_all(reader(&elsewhere, 1)));
    pass(100).await;
    store.remove(&key()).await.unwrap();
    assert_eq!(reader.await.unwrap(), Err(StoreError::Expired));
    advance(Duration::ZERO).await;
}

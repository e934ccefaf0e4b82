//! The log and its readers, in paused time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{
    About, Answer, Answers, Bounds, End, ReadError,
    log::BESIDE_OTHERS,
    storage::{Storage, Way},
};
use crate::{
    relay::{RelayConfig, access::Client},
    store::{Append, Entries, MemoryStore, StoreLimits, StreamKey, StreamStore as _},
    wire::Wire,
};

fn about(detached: bool) -> About {
    About {
        wire: Wire::Responses,
        model: "m".to_owned(),
        provider: "p".to_owned(),
        detached,
        stored: true,
        background: false,
        request: Bytes::new(),
    }
}

fn answers() -> Answers {
    let config = RelayConfig::default();
    Answers::new(&config)
}

fn small(bounds: impl FnOnce(&mut Bounds)) -> Arc<Answer> {
    let config = RelayConfig::default();
    let mut own = Bounds::of(&config);
    bounds(&mut own);
    let store = Arc::new(MemoryStore::new(StoreLimits::default()));
    Answers::with(own, &config, store).begin(&Client::Anonymous, about(false))
}

fn blocks(numbers: std::ops::RangeInclusive<u32>) -> Vec<Bytes> {
    let blocks = numbers.map(|number| format!("data: {number}\n\n").into());
    blocks.collect()
}

async fn rest(mut reader: super::Reader) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let Some(batch) = reader.next().await {
        all.extend(batch.expect("blocks").blocks());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn readers_that_come_early_late_and_after_the_end_read_the_same() {
    let answers = answers();
    let answer = answers.begin(&Client::Anonymous, about(false));
    let early = tokio::spawn(rest(answer.read(0)));
    answer.push(blocks(1..=3));
    tokio::task::yield_now().await;
    let late = tokio::spawn(rest(answer.read(0)));
    let behind = tokio::spawn(rest(answer.read(2)));
    tokio::task::yield_now().await;
    answer.push(blocks(4..=5));
    answer.end(End::Completed);
    answer.push(blocks(6..=6));
    assert_eq!(early.await.unwrap(), blocks(1..=5));
    assert_eq!(late.await.unwrap(), blocks(1..=5));
    assert_eq!(behind.await.unwrap(), blocks(3..=5));
    assert_eq!(rest(answer.read(4)).await, blocks(5..=5));
    assert_eq!(answer.end_so_far(), Some(End::Completed));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_deserted_when_its_last_reader_leaves_and_not_before_it_had_one() {
    let answers = answers();
    let answer = answers.begin(&Client::Anonymous, about(false));
    assert!(answer.deserted().now_or_never().is_none());
    let (one, two) = (answer.read(0), answer.read(0));
    drop(one);
    assert!(answer.deserted().now_or_never().is_none());
    drop(two);
    assert!(answer.deserted().now_or_never().is_some());
    let detached = answers.begin(&Client::Anonymous, about(true));
    drop(detached.read(0));
    assert!(detached.deserted().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pump_waits_for_the_slowest_reader_and_leaves_it_behind_after_a_named_time() {
    let answer = small(|bounds| bounds.lag_bytes = 20);
    let mut slow = answer.read(0);
    let quick = tokio::spawn(rest(answer.read(0)));
    answer.push(blocks(1..=5));
    assert!(answer.room().now_or_never().is_none());
    // It reads in time: the pump goes on.
    let (_, read) = tokio::join!(answer.room(), slow.next());
    assert_eq!(read.unwrap().unwrap().count(), 5);
    // It does not, and another waits with the pump.
    answer.push(blocks(6..=9));
    let began = tokio::time::Instant::now();
    answer.room().await;
    assert_eq!(began.elapsed(), BESIDE_OTHERS);
    assert_eq!(slow.next().await, Some(Err(ReadError::TooSlow)));
    assert_eq!(slow.next().await, None);
    answer.end(End::Completed);
    assert_eq!(quick.await.unwrap(), blocks(1..=9));
}

#[tokio::test(start_paused = true)]
async fn who_reads_alone_is_waited_for_longer_and_who_reads_slowly_beside_others_is_waited_for() {
    let patience = RelayConfig::default().slow_client;
    let answer = small(|bounds| bounds.lag_bytes = 20);
    let mut alone = answer.read(0);
    answer.push(blocks(1..=5));
    let began = tokio::time::Instant::now();
    answer.room().await;
    assert_eq!(began.elapsed(), patience);
    assert_eq!(alone.next().await, Some(Err(ReadError::TooSlow)));

    let answer = small(|bounds| (bounds.lag_bytes, bounds.batch_bytes) = (20, 1));
    let mut slow = answer.read(0);
    let quick = tokio::spawn(rest(answer.read(0)));
    answer.push(blocks(1..=50));
    let slow = tokio::spawn(async move {
        for _ in 0..50 {
            tokio::time::sleep(BESIDE_OTHERS - Duration::from_millis(1)).await;
            if slow.next().await != Some(Err(ReadError::TooSlow)) {
                continue;
            }
            return true;
        }
        false
    });
    let began = tokio::time::Instant::now();
    answer.room().await;
    // In the end it is too far behind all the same.
    assert_eq!(began.elapsed(), patience);
    answer.end(End::Completed);
    assert_eq!(quick.await.unwrap(), blocks(1..=50));
    assert!(slow.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_its_bound_in_bytes_is_read_to_its_end_and_not_resumed() {
    let answer = small(|bounds| bounds.stream_bytes = 20);
    let mut reader = answer.read(0);
    answer.push(blocks(1..=2));
    assert!(answer.is_resumable());
    answer.push(blocks(3..=4));
    assert!(!answer.is_resumable());
    assert_eq!(answer.blocks().await, Err(ReadError::NotResumable));
    assert_eq!(reader.next().await.unwrap().unwrap().count(), 4);
    assert_eq!(
        answer.read(1).next().await,
        Some(Err(ReadError::NotResumable))
    );
    answer.push(blocks(5..=5));
    answer.end(End::Completed);
    assert_eq!(rest(reader).await, blocks(5..=5));
}

#[tokio::test(start_paused = true)]
async fn a_client_sees_its_own_answers_by_two_ids_until_their_time_has_passed() {
    let answers = answers();
    let (me, other) = (Client::Anonymous, Client::Keyed([7; 32]));
    let older = answers.begin(&me, about(false));
    let newer = answers.begin(&me, about(false));
    answers.set_alias(&older, "resp_1");
    answers.set_alias(&newer, "resp_1");
    let found = |client, id: &str| {
        let found = answers.find_here(client, id);
        found.map(|found| found.id().to_owned())
    };
    assert_eq!(found(&me, "resp_1").as_deref(), Some(newer.id()));
    assert_eq!(found(&me, older.id()).as_deref(), Some(older.id()));
    assert_eq!(found(&other, older.id()), None);
    assert_eq!(found(&other, "resp_1"), None);
    assert_eq!(answers.list_here(&me).len(), 2);
    assert_eq!(answers.list_here(&other).len(), 0);
    newer.end(End::Completed);
    tokio::time::advance(RelayConfig::default().retention + Duration::from_secs(2)).await;
    assert_eq!(found(&me, "resp_1"), None);
    // It runs still.
    assert_eq!(found(&me, older.id()).as_deref(), Some(older.id()));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_told_to_the_pump_and_waits_for_the_end() {
    let answer = small(|_| {});
    let pump = answer.clone();
    let pump = async move {
        pump.cancelled().await;
        pump.end(End::Cancelled);
    };
    let (end, ()) = tokio::join!(answer.cancel(Duration::from_secs(1)), pump);
    assert_eq!(end, Ok(Some(End::Cancelled)));
    let stuck = small(|_| {});
    assert_eq!(stuck.cancel(Duration::from_secs(1)).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn requests_of_ended_answers_have_a_bound_together_and_the_oldest_goes_first() {
    let config = RelayConfig::default().with_retention_bytes(100);
    let answers = Answers::new(&config);
    let begin = || {
        let request = Bytes::from(vec![b' '; 40]);
        let about = About {
            request,
            ..about(false)
        };
        answers.begin(&Client::Anonymous, about)
    };
    let runs = begin();
    let ended: Vec<_> = (0..3)
        .map(|_| {
            let answer = begin();
            answer.end(End::Completed);
            answer
        })
        .collect();
    let known = |answer: &Answer| answers.find_here(&Client::Anonymous, answer.id()).is_some();
    assert!(known(&runs) && !known(&ended[0]) && !known(&ended[1]) && known(&ended[2]));
    assert_eq!(answers.remove(&ended[2]).await, Ok(()));
    assert_eq!(answers.remove(&ended[2]).await, Ok(()));
    begin();
    assert!(known(&runs));
}

#[tokio::test(start_paused = true)]
async fn of_many_ended_answers_the_newest_are_found_by_both_ids_and_what_runs_stays() {
    let answers = answers();
    let most = answers.inner.bounds.ended;
    let find = |id: &str| answers.find_here(&Client::Anonymous, id);
    let begin = |server_id: &str| {
        let answer = answers.begin(&Client::Anonymous, about(false));
        answers.set_alias(&answer, server_id);
        answer
    };
    let runs = begin("resp_runs");
    // An id that comes again is that of the newer one, also when the older one has gone.
    begin("resp_again").end(End::Completed);
    let mut lengths = (usize::MAX, 0);
    let total = 2 * most;
    for number in 0..total {
        let answer = begin(&format!("resp_{number}"));
        assert!(find(&format!("resp_{number}")).is_some());
        if number == total - 10 {
            begin("resp_again").end(End::Completed);
        }
        answer.end(End::Completed);
        let known = answers.known();
        let room = &known.rooms[&Client::Anonymous];
        let length = known.order.len();
        assert_eq!(room.answers.len(), length);
        assert!(room.aliases.len() <= length);
        if number > most {
            lengths = (lengths.0.min(length), lengths.1.max(length));
        }
    }
    // Of too many an eighth goes at once, so that not each request looks through all.
    assert_eq!(lengths, (most - most / 8, most));
    assert!(find("resp_0").is_none() && find(&format!("resp_{}", total - 1)).is_some());
    let again = find("resp_again").expect("the newer one");
    assert_eq!(again.server_id(), Some("resp_again"));
    assert_eq!(
        find("resp_runs").as_deref().map(Answer::id),
        Some(runs.id())
    );
}

/// What a reader gets that read up to this position, and this block last, where its node lost its claim: the stream of the store ended so.
async fn gone_on(
    blocks: &[Bytes],
    end: End,
    position: u64,
    last: Option<&Bytes>,
) -> Option<Result<Entries, ReadError>> {
    let store = Arc::new(MemoryStore::new(StoreLimits::default()));
    let stream = StreamKey {
        client: "anonymous".to_owned(),
        id: "relay_1".to_owned(),
    };
    let ttl = Duration::from_secs(8);
    let claim = store.claim(&stream, "other", 2, ttl).await.unwrap();
    let append = Append {
        blocks: blocks.to_vec(),
        end: Some(end),
        ..Append::default()
    };
    store.append(&claim, append).await.unwrap();
    let storage = Arc::new(Storage::new(store, &RelayConfig::default()));
    let way = Way { storage, stream };
    way.go_on(position, last.cloned(), None).next().await
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_node_lost_its_claim_never_gets_an_end_behind_blocks_that_it_lacks() {
    let completed = blocks(1..=5);
    let failed = |before: u32| {
        let mut all = blocks(1..=before);
        all.push(Bytes::from_static(
            b"data: {\"type\":\"response.failed\"}\n\n",
        ));
        all
    };
    let other = Bytes::from_static(b"data: other\n\n");
    let all_but = |all: &[Bytes], count: usize, end| {
        let entries = Entries {
            first: count as u64 + 1,
            blocks: all[count..].to_vec(),
            end: Some(end),
        };
        Some(Ok(entries))
    };
    // What it read last is there: all that follows.
    let go_on = gone_on(&completed, End::Completed, 3, Some(&completed[2])).await;
    assert_eq!(go_on, all_but(&completed, 3, End::Completed));
    // Another block is, or it is not known which it was: the rest is not the rest of what it has.
    for last in [Some(&other), None] {
        let go_on = gone_on(&completed, End::Completed, 3, last).await;
        assert_eq!(go_on, Some(Err(ReadError::Lost)));
        // That it failed is true all the same.
        let go_on = gone_on(&failed(4), End::Failed, 3, last).await;
        assert_eq!(go_on, all_but(&failed(4), 4, End::Failed));
    }
    // It has as many blocks, or more.
    for position in [3, 7] {
        let go_on = gone_on(&failed(2), End::Failed, position, Some(&other)).await;
        assert_eq!(go_on, all_but(&failed(2), 2, End::Failed));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_failed_before_its_first_block_had_none() {
    let answer = answers().begin(&Client::Anonymous, about(false));
    tokio::time::sleep(Duration::from_millis(30)).await;
    answer.end(End::Failed);
    assert_eq!(answer.time_to_first_block(), None);
}

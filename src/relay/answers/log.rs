//! What is sent of one answer: its blocks, in order, and who reads them how far.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{limits::Bounds, piece::Piece};
use crate::store::StoreError;
pub(in crate::relay) use crate::store::StreamEnd as End;

/// Why a reader has nothing more to read, though the answer did not end there for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum ReadError {
    /// It read too slowly, and was left behind.
    TooSlow,
    /// Blocks that it wants are not kept: the answer is over its bound in bytes.
    NotResumable,
    /// The time for which the answer was kept has passed, or it was deleted.
    Expired,
    /// The store that has it does not answer.
    Unavailable,
    /// Another node writes it now, and not what was read here.
    Lost,
    /// This node ends, and another one goes on with it.
    HandedOn,
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unknown | StoreError::Expired => Self::Expired,
            StoreError::TooLarge => Self::NotResumable,
            _ => Self::Unavailable,
        }
    }
}

/// Some blocks that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Batch {
    /// The number of the first block; the first of all is 1.
    pub(in crate::relay) first: u64,
    pub(in crate::relay) pieces: SmallVec<[Piece; 2]>,
}

impl Batch {
    /// How many blocks it has.
    pub(in crate::relay) fn count(&self) -> usize {
        self.pieces.iter().map(Piece::count).sum()
    }

    pub(in crate::relay) fn blocks(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.pieces.iter().flat_map(Piece::blocks)
    }
}

/// Bytes that lie in the logs of running answers, of one client and of all.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bytes: AtomicUsize,
}

/// How long other readers wait with the pump for one that takes no batch: longer than a phone takes to change its network, or a socket that is
/// read at 10 KB/s to have room again.
pub(super) const BESIDE_OTHERS: Duration = Duration::from_secs(15);

/// The log of one answer. The pump that fills it is one; readers come and go.
pub(super) struct Log {
    state: Mutex<State>,
    /// Told when a reader has come or left, of a cancel and of the end.
    left: Notify,
    /// Told when a reader has read or left, while somebody waits for room.
    room: Notify,
    limits: Bounds,
    /// Of the client, and of all.
    ledgers: [Arc<Ledger>; 2],
}

struct State {
    /// What is kept of the blocks, each piece with how many there are before it: all of them, or what some reader still has to read.
    pieces: VecDeque<(u64, Piece)>,
    /// How many blocks came.
    len: u64,
    /// How many blocks are not kept any more.
    let_go: u64,
    /// The bytes of `pieces`, which stand in the ledgers, too.
    kept_bytes: usize,
    /// The bytes of all blocks that ever came.
    pushed_bytes: u64,
    resumable: bool,
    end: Option<End>,
    ended_at: Option<Instant>,
    /// Nothing more comes, and no end: for this reason.
    gone: Option<ReadError>,
    cancel: bool,
    seats: Vec<Option<Seat>>,
    readers: usize,
    had_reader: bool,
    wants_room: bool,
}

/// The place of a reader.
struct Seat {
    /// How many blocks it has read or skipped.
    position: u64,
    /// The bytes of these.
    bytes: u64,
    waker: Option<Waker>,
    too_slow: bool,
}

impl State {
    /// What is kept from this position on, which is not below what was let go.
    fn from(&self, position: u64) -> impl Iterator<Item = Piece> + '_ {
        let (pieces, last) = (&self.pieces, self.pieces.back());
        // Most have read all but the last.
        let at = match last {
            Some((first, _)) if *first <= position => pieces.len() - 1,
            _ => pieces.partition_point(|(first, piece)| first + piece.count() as u64 <= position),
        };
        pieces
            .range(at.min(pieces.len())..)
            .filter_map(move |(first, piece)| {
                piece.without_first(position.saturating_sub(*first) as usize)
            })
    }

    /// The bytes that the slowest reader has not read yet, of those that are waited for.
    fn behind(&self) -> u64 {
        let waited_for = self.seats.iter().flatten().filter(|seat| !seat.too_slow);
        let read = waited_for.map(|seat| seat.bytes).min();
        read.map_or(0, |read| self.pushed_bytes - read)
    }

    /// How many bytes each reader has read that is waited for.
    fn read_so_far(&self) -> Vec<Option<u64>> {
        let read = |seat: &Option<Seat>| Some(seat.as_ref().filter(|seat| !seat.too_slow)?.bytes);
        self.seats.iter().map(read).collect()
    }

    fn is_over(&self) -> bool {
        self.end.is_some() || self.gone.is_some()
    }

    fn wake_readers(&mut self) {
        for seat in self.seats.iter_mut().flatten() {
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Log {
    pub(super) fn new(limits: Bounds, ledgers: [Arc<Ledger>; 2]) -> Self {
        Self {
            state: Mutex::new(State {
                pieces: VecDeque::new(),
                len: 0,
                let_go: 0,
                kept_bytes: 0,
                pushed_bytes: 0,
                resumable: true,
                end: None,
                ended_at: None,
                gone: None,
                cancel: false,
                seats: Vec::new(),
                readers: 0,
                had_reader: false,
                wants_room: false,
            }),
            left: Notify::new(),
            room: Notify::new(),
            limits,
            ledgers,
        }
    }

    /// The first blocks lie elsewhere, and nobody here reads any.
    pub(super) fn after(self, blocks: u64) -> Self {
        {
            let state = &mut *self.state();
            (state.len, state.let_go) = (blocks, blocks);
            (state.resumable, state.had_reader) = (false, true);
        }
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, pieces: impl IntoIterator<Item = Piece>) {
        let state = &mut *self.state();
        if state.is_over() {
            return;
        }
        let before = state.kept_bytes;
        for piece in pieces {
            state.kept_bytes += piece.bytes().len();
            state.pushed_bytes += piece.bytes().len() as u64;
            let before = state.len;
            state.len += piece.count() as u64;
            state.pieces.push_back((before, piece));
        }
        let more = state.kept_bytes - before;
        let bounds = [self.limits.client_bytes, self.limits.bytes];
        let mut over = state.kept_bytes > self.limits.stream_bytes;
        for (ledger, bound) in self.ledgers.iter().zip(bounds) {
            over |= ledger.bytes.fetch_add(more, Ordering::Relaxed) + more > bound;
        }
        if over {
            state.resumable = false;
        }
        self.let_go_of_what_was_read(state);
        state.wake_readers();
    }

    /// The first end is the end, of one that goes on elsewhere there is none.
    pub(super) fn end(&self, end: End) {
        let state = &mut *self.state();
        if !state.is_over() {
            state.end = Some(end);
            state.ended_at = Some(Instant::now());
        }
        state.wake_readers();
        self.left.notify_waiters();
    }

    /// It goes on elsewhere, unless it has ended: nothing comes here any more, and readers are told why at once.
    pub(super) fn leave(&self, why: ReadError) {
        let state = &mut *self.state();
        if !state.is_over() {
            state.gone = Some(why);
        }
        state.wake_readers();
        self.left.notify_waiters();
    }

    pub(super) fn cancel(&self) {
        self.state().cancel = true;
        self.left.notify_waiters();
    }

    /// Keeps the blocks for nobody but those who read now.
    pub(super) fn forget(&self) {
        let state = &mut *self.state();
        state.resumable = false;
        self.let_go_of_what_was_read(state);
    }

    pub(super) fn end_so_far(&self) -> Option<End> {
        self.state().end
    }

    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.state().ended_at
    }

    pub(super) fn limits(&self) -> &Bounds {
        &self.limits
    }

    /// Why nothing more comes, though it has not ended.
    pub(super) fn gone(&self) -> Option<ReadError> {
        self.state().gone
    }

    pub(super) fn is_resumable(&self) -> bool {
        self.state().resumable
    }

    /// How many blocks a reader has, and the last of these, where that is kept yet.
    pub(super) fn last_read(&self, seat: usize) -> (u64, Option<Bytes>) {
        let state = self.state();
        let position = state.seats[seat].as_ref().map_or(0, |seat| seat.position);
        let is_kept = position > state.let_go && position <= state.len;
        let piece = is_kept.then(|| state.from(position - 1).next()).flatten();
        (position, piece.and_then(|piece| piece.blocks().next()))
    }

    /// How many blocks came.
    pub(super) fn len(&self) -> u64 {
        self.state().len
    }

    pub(super) fn readers(&self) -> usize {
        self.state().readers
    }

    /// All blocks so far, where all are kept.
    pub(super) fn whole(&self) -> Option<Vec<Bytes>> {
        let state = self.state();
        (state.let_go == 0).then(|| {
            let pieces = state.pieces.iter();
            pieces.flat_map(|(_, piece)| piece.blocks()).collect()
        })
    }

    /// A place for a reader that has `position` blocks already.
    pub(super) fn sit_down(&self, position: u64) -> usize {
        let state = &mut *self.state();
        let position = position.min(state.len);
        let behind: usize = match position < state.let_go {
            true => state.kept_bytes,
            false => state.from(position).map(|piece| piece.bytes().len()).sum(),
        };
        let seat = Some(Seat {
            position,
            bytes: state.pushed_bytes - behind as u64,
            waker: None,
            too_slow: false,
        });
        state.readers += 1;
        state.had_reader = true;
        self.left.notify_waiters();
        match state.seats.iter().position(Option::is_none) {
            Some(free) => {
                state.seats[free] = seat;
                free
            }
            None => {
                state.seats.push(seat);
                state.seats.len() - 1
            }
        }
    }

    pub(super) fn stand_up(&self, seat: usize) {
        let state = &mut *self.state();
        state.seats[seat] = None;
        state.readers -= 1;
        self.let_go_of_what_was_read(state);
        self.left.notify_waiters();
        self.room.notify_waiters();
    }

    pub(super) fn forget_waker(&self, seat: usize) {
        if let Some(seat) = &mut self.state().seats[seat] {
            seat.waker = None;
        }
    }

    pub(super) fn poll_read(
        &self,
        seat: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Batch, ReadError>>> {
        let state = &mut *self.state();
        let (len, let_go, gone) = (state.len, state.let_go, state.gone);
        let Some(place) = &mut state.seats[seat] else {
            return Poll::Ready(None);
        };
        if place.too_slow {
            return Poll::Ready(Some(Err(ReadError::TooSlow)));
        }
        if let Some(why) = gone {
            return Poll::Ready(Some(Err(why)));
        }
        if place.position < let_go {
            return Poll::Ready(Some(Err(ReadError::NotResumable)));
        }
        if place.position == len {
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            // Most are polled by the task that was woken before.
            match &mut place.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let position = place.position;
        let mut batch = Batch {
            first: position + 1,
            pieces: SmallVec::new(),
        };
        let mut bytes = 0;
        for piece in state.from(position) {
            bytes += piece.bytes().len();
            batch.pieces.push(piece);
            if bytes >= self.limits.batch_bytes {
                break;
            }
        }
        if let Some(place) = &mut state.seats[seat] {
            place.position += batch.count() as u64;
            place.bytes += bytes as u64;
        }
        self.let_go_of_what_was_read(state);
        // Seldom: most readers keep up, and the pump is not to be woken for each block.
        if state.wants_room {
            self.room.notify_waiters();
        }
        Poll::Ready(Some(Ok(batch)))
    }

    fn let_go_of_what_was_read(&self, state: &mut State) {
        // Readers that go over to another node look at what they read last.
        if state.resumable || state.gone.is_some() {
            return;
        }
        let read = state.seats.iter().flatten().map(|seat| seat.position).min();
        // Nobody has read what a pump pushes before its first reader came.
        let read = read.unwrap_or(if state.had_reader { state.len } else { 0 });
        let mut bytes = 0;
        while let Some((before, piece)) = state.pieces.front()
            && before + piece.count() as u64 <= read
        {
            bytes += piece.bytes().len();
            state.let_go = before + piece.count() as u64;
            state.pieces.pop_front();
        }
        state.kept_bytes -= bytes;
        self.give_back(bytes);
    }

    fn give_back(&self, bytes: usize) {
        for ledger in &self.ledgers {
            ledger.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Waits until what is asked of the state is there.
    async fn until<T>(
        &self,
        told_by: &Notify,
        mut found: impl FnMut(&mut State) -> Option<T>,
    ) -> T {
        loop {
            let told = told_by.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(found) = found(&mut self.state()) {
                return found;
            }
            told.await;
        }
    }

    /// Waits while the slowest reader is too far behind; one that is so for too long is left behind, and where others wait with the pump one
    /// that reads nothing.
    pub(super) async fn room(&self) {
        let far = self.limits.lag_bytes as u64;
        if self.state().behind() <= far {
            return;
        }
        let deadline = Instant::now() + self.limits.slow_reader;
        loop {
            let read = self.state().read_so_far();
            let until = deadline.min(Instant::now() + BESIDE_OTHERS);
            let room = self.until(&self.room, |state| {
                state.wants_room = state.behind() > far;
                (!state.wants_room).then_some(())
            });
            if timeout_at(until, room).await.is_ok() {
                return;
            }
            let is_over = until == deadline;
            let state = &mut *self.state();
            state.wants_room = false;
            let is_near = |read: &u64| state.pushed_bytes - read <= far;
            let others_wait = state.read_so_far().iter().flatten().any(is_near);
            for (seat, read) in state.seats.iter_mut().zip(read) {
                let Some(seat) = seat else { continue };
                let is_behind = state.pushed_bytes - seat.bytes > far;
                let reads_nothing = others_wait && read == Some(seat.bytes);
                if is_behind && (is_over || reads_nothing) {
                    seat.too_slow = true;
                    (seat.position, seat.bytes) = (u64::MAX, state.pushed_bytes);
                    if let Some(waker) = seat.waker.take() {
                        waker.wake();
                    }
                }
            }
            self.let_go_of_what_was_read(state);
            if is_over {
                return;
            }
        }
    }

    /// Resolves when all readers that it had are gone.
    pub(super) async fn deserted(&self) {
        self.until(&self.left, |state| {
            (state.had_reader && state.readers == 0).then_some(())
        })
        .await;
    }

    pub(super) async fn cancelled(&self) {
        self.until(&self.left, |state| state.cancel.then_some(()))
            .await;
    }

    /// Resolves when it goes on elsewhere.
    pub(super) async fn left(&self) -> ReadError {
        self.until(&self.left, |state| state.gone).await
    }

    /// Resolves when it has ended, for those who wait for that alone.
    pub(super) async fn ended_within(&self, time: Duration) -> Option<End> {
        let over = |state: &mut State| state.is_over().then_some(state.end);
        let ended = self.until(&self.left, over);
        let ended = timeout_at(Instant::now() + time, ended).await;
        ended.ok().flatten()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let bytes = self.state().kept_bytes;
        self.give_back(bytes);
    }
}

//! Where answers are kept that outlive their connections.

#[doc(hidden)] // for the simulation, which is a crate of its own
pub mod follow;
mod memory;
#[doc(hidden)] // for the simulation, which is a crate of its own
pub mod recorder;
#[cfg(feature = "redis")]
mod redis;

use std::{
    fmt,
    future::{self, Future},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use thiserror::Error;

pub use self::memory::{MemoryStore, StoreLimits};
#[cfg(feature = "redis")]
pub use self::redis::{RedisOptions, RedisStore};

/// How many bytes a second come to a store at the least: what is long has so much more time.
const SLOWEST_PER_SECOND: u64 = 1 << 20;

/// How long so many bytes may be on their way.
fn time_to_send(bytes: usize) -> Duration {
    Duration::from_millis((bytes as u64).saturating_mul(1000) / SLOWEST_PER_SECOND)
}

/// What a store does takes its time.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What comes into a stream, as it comes. It ends with the stream's end, or with an error.
pub type StoreTail = Pin<Box<dyn Stream<Item = Result<Entries, StoreError>> + Send>>;

/// Keeps the blocks of answers: in memory, or where other nodes see them.
///
/// A stream is a log of blocks that are numbered from 1 without gaps. One node at a time writes to it, by a [`Claim`] with an epoch; the
/// store itself refuses one whose claim is lost. The end lies in the log, and nothing comes behind it. A stream is never trimmed from the
/// front: it is whole, or over its bound and not there for anybody ([`StoreError::TooLarge`]).
///
/// All times are the store's own: no two nodes have to agree on what time it is.
pub trait StreamStore: fmt::Debug + Send + Sync {
    /// Whether other processes read and write what lies in it, or this one's successor: then a stream is written while it runs. Else it
    /// is enough to bring it there when it has ended.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether it answers, and takes new streams.
    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(future::ready(Ok(())))
    }

    /// Becomes the writer of a stream, which may be new, for a time, or goes on being it. An epoch of one's own renews, though its time is over, if
    /// nobody else has taken it; with no time it releases. Another's claim is taken with a greater epoch when its time is over. Of a stream that
    /// has ended nobody else becomes the writer ([`StoreError::Ended`]), of one that was removed nobody at all ([`StoreError::Expired`]).
    fn claim<'a>(
        &'a self,
        stream: &'a StreamKey,
        node: &'a str,
        epoch: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, Claim>;

    /// Appends what follows on the first `append.expected` blocks, all or nothing, and says how many blocks there are. The claim is renewed
    /// by it, too. It is looked at first: who gets another refusal than [`StoreError::Claimed`] or [`StoreError::Unknown`] still has it.
    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64>;

    /// Some of the entries from the block with this number on: as many as are given at once, none where there is none yet.
    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries>;

    /// The same, and all that comes. Where the stream goes away meanwhile, it ends with [`StoreError::Expired`].
    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail;

    /// Asks the writer to stop, whichever node it is on. It is no block.
    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()>;

    /// Resolves when somebody asks the writer to stop, or has; for the writer. It fails when the stream is gone.
    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()>;

    /// The stream of a client that has this id, or this alias.
    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo>;

    /// What was asked, as [`Append::request`] gave it; nothing where that was not given.
    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes>;

    /// The streams of a client, in no order; of very many the newest.
    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>>;

    /// Removes a stream, whoever writes it. For a while it is remembered that this was meant: a stream that the store lost is written again.
    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()>;
}

/// Which stream: nobody finds one with another client's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// Whose it is.
    pub client: String,
    /// Random, and never used again.
    pub id: String,
}

/// The right to write to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What may be written to.
    pub stream: StreamKey,
    /// Who may.
    pub node: String,
    /// A later claim has a greater one.
    pub epoch: u64,
    /// For how long it holds from what came last: the claim itself, or an append by it.
    pub ttl: Duration,
}

/// What is written at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// How many blocks the writer believes to be there: what it repeats is refused.
    pub expected: u64,
    /// The blocks that follow.
    pub blocks: Vec<Bytes>,
    /// The end, if they are the last.
    pub end: Option<StreamEnd>,
    /// What is to be known of the stream beside its blocks. The last one holds.
    pub about: Option<Bytes>,
    /// What was asked. It may be long, and is read by [`StreamStore::request`] alone. The last one holds.
    pub request: Option<Bytes>,
    /// Other ids by which its client finds it. One that another stream of the client has is taken away from that.
    pub aliases: Vec<String>,
}

impl Append {
    /// What is long in it.
    fn bytes(&self) -> usize {
        let beside = self.about.iter().chain(&self.request);
        beside.chain(&self.blocks).map(Bytes::len).sum()
    }
}

/// Some entries that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The number of the first block, or the one that it will have.
    pub first: u64,
    /// The blocks.
    pub blocks: Vec<Bytes>,
    /// The end, if they are the last.
    pub end: Option<StreamEnd>,
}

/// What is known of a stream without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Which it is.
    pub stream: StreamKey,
    /// How many blocks it has.
    pub blocks: u64,
    /// How it ended, if it did.
    pub end: Option<StreamEnd>,
    /// What its writer said of it.
    pub about: Bytes,
    /// The epoch of its last claim.
    pub epoch: u64,
    /// For how long that still holds; nothing where another node may take it.
    pub claimed_for: Option<Duration>,
    /// Whether its last writer gave the claim back: then nobody has to wait for whether it comes back.
    pub is_released: bool,
}

/// How an answer ended. What its client is told of that lies in the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// As the server says that a whole answer ends.
    Completed,
    /// At a limit, or withheld.
    Incomplete,
    /// By a failure, of the server or of the relay.
    Failed,
    /// Somebody wanted that, or nobody read it any more.
    Cancelled,
}

impl StreamEnd {
    /// The status of a response that ended so.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// This client has no such stream, or has it no more.
    #[error("there is no such stream")]
    Unknown,
    /// The stream went away while it was read.
    #[error("the stream is not kept any longer")]
    Expired,
    /// The stream is over its bound in bytes. It takes nothing more and gives nothing.
    #[error("the stream is longer than what is kept of one")]
    TooLarge,
    /// What was to be appended does not follow on what is there: a repeat, or a gap.
    #[error("the stream has {blocks} blocks, and others were expected")]
    Conflict {
        /// How many there are.
        blocks: u64,
    },
    /// Nothing comes behind the end.
    #[error("the stream has ended")]
    Ended,
    /// Another node has the stream, or had it since.
    #[error("the stream is claimed with epoch {epoch}")]
    Claimed {
        /// Of the claim that holds.
        epoch: u64,
    },
    /// It takes no new streams, so that it has room for those which run.
    #[error("the store is full")]
    Full,
    /// The store itself can not be reached.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

//! A store in Redis, which several nodes share.

mod connection;
mod keys;
mod links;
mod memory;
mod options;
mod scripts;
mod tail;
mod values;
mod watch;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use ::redis::{Cmd, cmd, pipe};
use bytes::Bytes;

pub use self::options::RedisOptions;
use self::{
    connection::Link,
    keys::{INBOX_ENTRIES, INBOX_KEPT, Keys},
    links::Links,
    memory::Memory,
    options::Address,
    scripts::Script,
    watch::Watch,
};
use super::{
    Append, Claim, Entries, StoreError, StoreFuture, StoreTail, StreamEnd, StreamInfo, StreamKey,
    StreamStore,
};
use crate::protocol::error::ApiError;

/// For how many milliseconds those hear that a stream was removed who read it right then. Others find it out by themselves.
const REMOVAL_TOLD: u64 = 10_000;

/// How often the writer of a stream may change while somebody asks it to stop.
const MOVES: usize = 3;

/// Of a script without blocks and aliases.
const FEW_ARGUMENTS: usize = 24;

/// Keeps streams in Redis 7, or what speaks as it does: for all nodes that know its address, and for those that come after them.
///
/// All keys of one store lie in one slot of a cluster, and so on one server, which is gone to when the one that the URL names says so: a cluster
/// carries as much of a store as that one server does. Nothing is asked of the server but its data, `TIME`, `INFO memory` and scripts: it may forbid `CONFIG`. It should let nothing go for want of memory
/// (`maxmemory-policy noeviction`); of a stream of which it did, nobody gets a part.
///
/// A user of its own may be allowed `~{responses}*`, by whatever prefix, with `+@connection +time +info +eval +evalsha +script|load +get +set +hget
/// +hmget +hset +pexpire +del +sadd +smembers +zadd +zrange +zrem +zremrangebyrank +xadd +xlen +xtrim +xrange +xread`, and needs no more.
///
/// What it acknowledges is as durable as the server is: one that loses the last second when it is killed loses it here, too, and writers that
/// still run write it again. It is meant to be made once for a process. Its connections are opened when they are needed.
pub struct RedisStore {
    links: Arc<Links>,
    watch: Arc<Watch>,
    memory: Memory,
    inbox: String,
    place: String,
}

impl RedisStore {
    /// A store at `redis://[[user]:password@]host[:port][/database]`, the same with TLS at `rediss://`, or at
    /// `unix:///path[?db=0&user=...&pass=...]`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when the URL, an option or a file of the TLS settings can't be used. Nothing of the
    /// URL is in it, for there may be a password.
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, ApiError> {
        options.validate()?;
        let address = Address::parse(url, &options.tls)?;
        let options = Arc::new(options);
        let place = address.place.to_string();
        let links = Arc::new(Links::new(address.clone(), Arc::clone(&options)));
        let [one, two] = [0, 1].map(|part: u8| RandomState::new().hash_one(part));
        let inbox = keys::inbox(&options.prefix, &format!("{one:016x}{two:016x}"));
        let own = Link::new(address, options);
        Ok(Self {
            watch: Arc::new(Watch::new(own, Arc::clone(&links), inbox.clone())),
            memory: Memory::default(),
            links,
            inbox,
            place,
        })
    }

    fn options(&self) -> &RedisOptions {
        self.links.options()
    }

    fn here(&self) -> Arc<Link> {
        self.links.here()
    }

    fn keys<'a>(&'a self, stream: &'a StreamKey) -> Keys<'a> {
        Keys::of(&self.options().prefix, stream)
    }

    async fn claim_now(
        &self,
        stream: &StreamKey,
        node: &str,
        epoch: u64,
        ttl: Duration,
    ) -> Result<Claim, StoreError> {
        let is_full = self.memory.is_full(&self.here()).await?;
        let keys = self.keys(stream);
        let options = self.options();
        let link = self.here();
        let answer = link.run(Script::Claim, (FEW_ARGUMENTS, 0), |command| {
            command.arg(4).arg(keys.state).arg(keys.log);
            command.arg(keys.aliases).arg(keys.streams);
            command.arg(node).arg(digits(epoch)).arg(millis(ttl));
            command.arg(millis(options.retention)).arg(&stream.id);
            command.arg(options.listed).arg(&self.inbox);
            command.arg(u8::from(!is_full));
        });
        values::answer(answer.await?)?;
        Ok(Claim {
            stream: stream.clone(),
            node: node.to_owned(),
            epoch,
            ttl,
        })
    }

    async fn append_now(&self, claim: &Claim, append: Append) -> Result<u64, StoreError> {
        let keys = self.keys(&claim.stream);
        let options = self.options();
        let client = &claim.stream.client;
        let aliases = append.aliases.iter();
        let aliases: Vec<_> = aliases
            .map(|alias| keys::alias(&options.prefix, client, alias))
            .collect();
        // What could not be taken is not sent: with a bound below nothing the script refuses it when it has looked at the rest.
        let bytes = append.bytes();
        let (append, most, bytes) = match bytes > options.stream_bytes {
            true => (
                Append {
                    expected: append.expected,
                    end: append.end,
                    ..Append::default()
                },
                -1,
                0,
            ),
            false => (
                append,
                i64::try_from(options.stream_bytes).unwrap_or(i64::MAX),
                bytes,
            ),
        };
        let turn = self.links.to_send(bytes).await;
        let arguments = FEW_ARGUMENTS + aliases.len() + append.blocks.len();
        let answer = turn
            .link
            .run(Script::Append, (arguments, bytes), |command| {
                command.arg(4 + aliases.len());
                command.arg(keys.state).arg(keys.log);
                command.arg(keys.aliases).arg(keys.streams);
                for alias in &aliases {
                    command.arg(alias);
                }
                command.arg(&claim.node).arg(digits(claim.epoch));
                command.arg(append.expected).arg(millis(claim.ttl));
                command.arg(millis(options.retention));
                command.arg(most).arg(&claim.stream.id);
                command.arg(append.end.map_or("", StreamEnd::as_str));
                for beside in [&append.about, &append.request] {
                    command.arg(u8::from(beside.is_some()));
                    command.arg(beside.as_deref().unwrap_or_default());
                }
                for block in &append.blocks {
                    command.arg(&block[..]);
                }
            })
            .await;
        turn.finish();
        values::answer(answer?)
    }

    async fn find_now(&self, client: &str, id: &str) -> Result<StreamInfo, StoreError> {
        let prefix = &self.options().prefix;
        let stream = |id: &str| StreamKey {
            client: client.to_owned(),
            id: id.to_owned(),
        };
        let own = stream(id);
        let mut asked = pipe();
        asked.cmd("TIME");
        asked.cmd("GET").arg(keys::alias(prefix, client, id));
        asked.add_command(info(&keys::state(prefix, &own)));
        let [time, alias, found] = self.asked(&asked).await?;
        let now = values::clock(&time).ok_or_else(values::unexpected)?;
        if let Some(other) = values::text(&alias) {
            let other = stream(other);
            let found = info(&keys::state(prefix, &other));
            let found = self.here().ask(&found).await?;
            if let Some(info) = values::info(other, found, now) {
                return Ok(info);
            }
        }
        values::info(own, found, now).ok_or(StoreError::Unknown)
    }

    async fn list_now(&self, client: &str) -> Result<Vec<StreamInfo>, StoreError> {
        let options = self.options();
        let mut asked = cmd("ZRANGE");
        asked.arg(keys::streams(&options.prefix, client));
        asked.arg(0).arg(options.listed).arg("REV");
        let ids = values::array(self.here().ask(&asked).await?).unwrap_or_default();
        let ids = ids.iter().filter_map(values::text).take(options.listed);
        let streams: Vec<_> = ids
            .map(|id| StreamKey {
                client: client.to_owned(),
                id: id.to_owned(),
            })
            .collect();
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = pipe();
        asked.cmd("TIME");
        for stream in &streams {
            let state = keys::state(&options.prefix, stream);
            asked.add_command(info(&state));
        }
        let mut answers = self.here().ask_all(&asked).await?.into_iter();
        let now = answers.next().as_ref().and_then(values::clock);
        let now = now.ok_or_else(values::unexpected)?;
        // Those that are gone leave the list when as many have come.
        let infos = streams.into_iter().zip(answers);
        let infos = infos.filter_map(|(stream, fields)| values::info(stream, fields, now));
        Ok(infos.collect())
    }

    async fn request_now(&self, stream: &StreamKey) -> Result<Bytes, StoreError> {
        let state = keys::state(&self.options().prefix, stream);
        let mut length = cmd("HMGET");
        length.arg(&state).arg("epoch").arg("bytes");
        let fields = values::array(self.here().ask(&length).await?);
        let [epoch, bytes] = fields
            .and_then(|fields| fields.try_into().ok())
            .ok_or_else(values::unexpected)?;
        values::number(&epoch).ok_or(StoreError::Unknown)?;
        let mut asked = cmd("HGET");
        asked.arg(&state).arg("request");
        let request = self.links.read(values::length(&bytes), &asked).await?;
        Ok(values::bytes(request).unwrap_or_default())
    }

    /// Runs a script that tells the store which the writer has.
    async fn tell(
        &self,
        stream: &StreamKey,
        script: Script,
        fill: impl Fn(&mut Cmd, &str),
    ) -> Result<(), StoreError> {
        for _ in 0..MOVES {
            let mut asked = cmd("HGET");
            asked.arg(keys::state(&self.options().prefix, stream));
            let inbox = self.here().ask(asked.arg("inbox")).await?;
            let inbox = values::text(&inbox).ok_or(StoreError::Unknown)?;
            let answer = self
                .here()
                .run(script, (FEW_ARGUMENTS, 0), |command| fill(command, inbox))
                .await?;
            if !values::has_moved(&answer) {
                return values::answer(answer).map(drop);
            }
        }
        let why = "its writer changes all the time".to_owned();
        Err(StoreError::Unavailable(why))
    }

    async fn cancel_now(&self, stream: &StreamKey) -> Result<(), StoreError> {
        let state = keys::state(&self.options().prefix, stream);
        let cancel = self.tell(stream, Script::Cancel, |command, inbox| {
            command.arg(2).arg(&state).arg(inbox);
            command.arg(INBOX_KEPT).arg(INBOX_ENTRIES);
        });
        cancel.await
    }

    async fn remove_now(&self, stream: &StreamKey) -> Result<(), StoreError> {
        let keys = self.keys(stream);
        let retention = millis(self.options().retention);
        let remove = self.tell(stream, Script::Remove, |command, inbox| {
            command.arg(5).arg(keys.state).arg(keys.log);
            command.arg(keys.aliases).arg(keys.streams).arg(inbox);
            command.arg(INBOX_KEPT).arg(INBOX_ENTRIES);
            command.arg(&stream.id).arg(retention).arg(REMOVAL_TOLD);
        });
        remove.await
    }

    async fn cancelled_now(&self, claim: &Claim) -> Result<(), StoreError> {
        let state = keys::state(&self.options().prefix, &claim.stream);
        loop {
            let told = self.watch.write(state.clone());
            // What was said before that.
            let mut asked = cmd("HMGET");
            asked.arg(&state).arg("epoch").arg("cancel");
            if let Ok(fields) = self.here().ask(&asked).await
                && let Some(told) = values::told(fields)
            {
                return told;
            }
            if let Ok(told) = told.await {
                return told;
            }
        }
    }

    async fn asked<const N: usize>(
        &self,
        commands: &::redis::Pipeline,
    ) -> Result<[::redis::Value; N], StoreError> {
        let answers = self.here().ask_all(commands).await?;
        answers.try_into().map_err(|_| values::unexpected())
    }
}

/// Asks for what [`values::info`] reads.
fn info(state: &str) -> Cmd {
    let mut asked = cmd("HMGET");
    asked.arg(state).arg(&values::INFO_FIELDS);
    asked
}

/// Of one length, so that the greater number is the greater text.
fn digits(epoch: u64) -> String {
    format!("{epoch:020}")
}

fn millis(time: Duration) -> u64 {
    // The server adds to it.
    u64::try_from(time.as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

/// Ten years.
const MAX_MILLIS: u64 = 315_360_000_000;

impl StreamStore for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.here().ask(&cmd("PING")).await?;
            match self.memory.is_full(&self.here()).await? {
                true => Err(StoreError::Full),
                false => Ok(()),
            }
        })
    }

    fn claim<'a>(
        &'a self,
        stream: &'a StreamKey,
        node: &'a str,
        epoch: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, Claim> {
        Box::pin(self.claim_now(stream, node, epoch, ttl))
    }

    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64> {
        Box::pin(self.append_now(claim, append))
    }

    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries> {
        Box::pin(tail::read(&self.links, stream, from))
    }

    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail {
        tail::tail(&self.links, &self.watch, stream, from)
    }

    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        Box::pin(self.cancel_now(stream))
    }

    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        Box::pin(self.cancelled_now(claim))
    }

    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo> {
        Box::pin(self.find_now(client, id))
    }

    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes> {
        Box::pin(self.request_now(stream))
    }

    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>> {
        Box::pin(self.list_now(client))
    }

    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        Box::pin(self.remove_now(stream))
    }
}

/// Of its address nothing is shown but the place.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("place", &self.place)
            .field("options", self.options())
            .finish_non_exhaustive()
    }
}

//! Reading a log: what is there, and what comes.

use std::sync::Arc;

use ::redis::cmd;
use futures_util::stream;

use super::{
    keys,
    links::Links,
    values,
    watch::{Arrivals, Watch},
};
use crate::store::{Entries, StoreError, StoreTail, StreamKey};

/// How many entries a read gives at once. They are as long as the blocks are, and together never longer than a stream may be.
const READ_ENTRIES: usize = 512;

pub(super) async fn read(
    links: &Links,
    stream: &StreamKey,
    from: u64,
) -> Result<Entries, StoreError> {
    let (there, mut entries) = read_some(links, stream, from.max(1)).await?;
    if !entries.blocks.is_empty() || entries.end.is_some() {
        return Ok(entries);
    }
    if from <= there {
        // The server has let the log go.
        return Err(StoreError::Unknown);
    }
    entries.first = there + 1;
    if from > there + 1 {
        // Who is ahead of the stream gets its end, too, if there is one.
        let (_, more) = read_some(links, stream, there + 1).await?;
        entries.end = more.end.filter(|_| more.blocks.is_empty());
    }
    Ok(entries)
}

/// How many blocks there were, and some from this one on.
async fn read_some(
    links: &Links,
    stream: &StreamKey,
    from: u64,
) -> Result<(u64, Entries), StoreError> {
    let prefix = &links.options().prefix;
    let mut asked = cmd("HMGET");
    asked.arg(keys::state(prefix, stream));
    asked.arg("epoch").arg("over").arg("blocks").arg("bytes");
    let fields = values::array(links.here().ask(&asked).await?);
    let fields = fields.and_then(|fields| fields.try_into().ok());
    let [epoch, over, blocks, bytes] = fields.ok_or_else(values::unexpected)?;
    values::number(&epoch).ok_or(StoreError::Unknown)?;
    if values::number(&over).is_some() {
        return Err(StoreError::TooLarge);
    }
    let there = values::number(&blocks).ok_or_else(values::unexpected)?;
    let mut asked = cmd("XRANGE");
    asked.arg(keys::log(prefix, stream));
    // Behind the block before, where the end may be.
    asked.arg(format!("{}-1", from - 1)).arg("+");
    asked.arg("COUNT").arg(READ_ENTRIES);
    let bytes = match from <= there {
        true => values::length(&bytes),
        false => 0,
    };
    let log = values::array(links.read(bytes, &asked).await?);
    let log = log.ok_or_else(values::unexpected)?;
    Ok((there, values::entries(log, from)?))
}

struct Tail {
    links: Arc<Links>,
    watch: Arc<Watch>,
    stream: StreamKey,
    from: u64,
    arrivals: Option<Arrivals>,
    /// A stream that was never there is unknown, and not expired.
    was_there: bool,
    is_over: bool,
}

pub(super) fn tail(
    links: &Arc<Links>,
    watch: &Arc<Watch>,
    stream: &StreamKey,
    from: u64,
) -> StoreTail {
    let tail = Tail {
        links: Arc::clone(links),
        watch: Arc::clone(watch),
        stream: stream.clone(),
        from: from.max(1),
        arrivals: None,
        was_there: false,
        is_over: false,
    };
    Box::pin(stream::unfold(tail, async |mut tail| {
        if tail.is_over {
            return None;
        }
        let entries = tail.next().await;
        match &entries {
            Ok(entries) => {
                tail.from = entries.first + entries.blocks.len() as u64;
                tail.is_over = entries.end.is_some();
            }
            Err(_) => tail.is_over = true,
        }
        Some((entries, tail))
    }))
}

impl Tail {
    async fn next(&mut self) -> Result<Entries, StoreError> {
        loop {
            if let Some(arrivals) = &mut self.arrivals {
                if let Some(entries) = arrivals.recv().await {
                    return entries;
                }
                // Too far behind, or nobody watches any more.
                self.arrivals = None;
            }
            let entries = match read(&self.links, &self.stream, self.from).await {
                Err(StoreError::Unknown) if self.was_there => return Err(StoreError::Expired),
                entries => entries?,
            };
            self.was_there = true;
            if entries.end.is_some() || !entries.blocks.is_empty() {
                return Ok(entries);
            }
            let prefix = &self.links.options().prefix;
            let log = keys::log(prefix, &self.stream);
            let state = keys::state(prefix, &self.stream);
            self.arrivals = Some(self.watch.read(log, state, entries.first, self.from)?);
        }
    }
}

//! The promises, held against what became of a plan.

use std::{collections::BTreeMap, time::Duration};

use actix_responses::store::{Entries, StoreError, StreamEnd, recorder::RecorderState};

use crate::{
    heard::{Event, Heard},
    plan::{CALM, Plan},
    world::{Record, Writer},
};

/// For how long a claim must have been free: see `RecorderSettings`.
const GRACE: Duration = Duration::from_secs(2);
/// When it is looked whether an end is still there.
const LINGER: Duration = Duration::from_secs(2);
/// A writer tries again so soon, and a command takes so long at most.
const RETRY: Duration = Duration::from_millis(2100);
/// From when all is well until who reads has its end: the claim, the grace, and the tries around them.
const BOUND: Duration = Duration::from_secs(14);

#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) checked: BTreeMap<&'static str, u64>,
    pub(crate) broken: Vec<(&'static str, String)>,
    /// What is no promise, and worth a number.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl Findings {
    fn check(&mut self, name: &'static str, holds: bool, detail: impl FnOnce() -> String) {
        *self.checked.entry(name).or_default() += 1;
        if !holds {
            self.broken.push((name, detail()));
        }
    }

    fn see(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.seen.entry(name).or_default() += count;
        }
    }
}

pub(crate) fn check(plan: &Plan, record: &Record) -> Findings {
    let mut findings = Findings::default();
    for client in 0..record.clients.len() {
        of_client(record, client, &mut findings);
    }
    for stream in 0..plan.streams.len() {
        let about = About::new(record, stream);
        of_log(&about, &mut findings);
        of_ends(&about, &mut findings);
        of_readers(&about, &mut findings);
        of_claims(&about, &mut findings);
        of_cancels(&about, &mut findings);
        of_living_writers(plan, &about, &mut findings);
    }
    findings
}

/// What concerns one stream.
struct About<'a> {
    record: &'a Record,
    stream: usize,
    stored: &'a Result<Entries, StoreError>,
    writers: Vec<&'a Writer>,
    /// When the store lost something.
    losses: Vec<Duration>,
    to_be_removed: Option<Duration>,
    removed: Option<Duration>,
    /// A writer gave it up, and took it out of the store.
    is_given_up: bool,
}

impl<'a> About<'a> {
    fn new(record: &'a Record, stream: usize) -> Self {
        let writers = record.writers.iter();
        let writers: Vec<_> = writers.filter(|writer| writer.stream == stream).collect();
        let heard = record.heard.iter();
        let is_loss = |heard: &&Heard| matches!(heard.event, Event::LostAll | Event::WentBack);
        let time_of = |event: Event| {
            let heard = heard.clone().find(|heard| heard.event == event);
            heard.map(|heard| heard.asked)
        };
        let is_given_up = writers
            .iter()
            .any(|writer| matches!(writer.over, Some((_, RecorderState::GivenUp(_)))));
        Self {
            record,
            stream,
            stored: &record.stored[stream],
            losses: heard.clone().filter(is_loss).map(|loss| loss.at).collect(),
            to_be_removed: time_of(Event::ToBeRemoved { stream }),
            removed: time_of(Event::Removed { stream }),
            writers,
            is_given_up,
        }
    }

    fn lost_since(&self, time: Duration) -> bool {
        self.losses.iter().any(|loss| *loss >= time)
    }

    /// Somebody took it away.
    fn is_gone(&self) -> bool {
        self.to_be_removed.is_some() || self.is_given_up
    }

    fn is_well(&self, node: usize, from: Duration, to: Duration) -> bool {
        let changes = &self.record.health[node];
        let before = changes.iter().rev().find(|(at, _)| *at <= from);
        let is_well = before.is_none_or(|(_, is_well)| *is_well);
        is_well && !changes.iter().any(|(at, _)| *at > from && *at <= to)
    }
}

fn of_client(record: &Record, client: usize, findings: &mut Findings) {
    let client = &record.clients[client];
    findings.check(
        "a reader gets each block once and in order",
        client.wrong.is_empty(),
        || format!("{:?}", client.wrong),
    );
    findings.check("a reader gets one end", client.ends.len() <= 1, || {
        format!("{:?}", client.ends)
    });
    findings.see(
        "ends without their block, where a reader came back",
        client.bare_ends,
    );
}

/// A block of the log: its number, if it has one, and the epoch of its writer.
fn parsed(block: &[u8]) -> (Option<u64>, u64) {
    let text = String::from_utf8_lossy(block);
    let epoch = text.rsplit(' ').next().and_then(|epoch| epoch.parse().ok());
    let number = text.strip_prefix("block ");
    let number = number.and_then(|rest| rest.split(' ').next()?.parse().ok());
    (number, epoch.unwrap_or_default())
}

fn of_log(about: &About<'_>, findings: &mut Findings) {
    let Ok(entries) = about.stored else {
        return;
    };
    let blocks: Vec<_> = entries.blocks.iter().map(|block| parsed(block)).collect();
    let show = || format!("stream {}: {entries:?}", about.stream);
    let in_order = blocks.iter().enumerate().all(|(at, (number, _))| {
        let is_last = at + 1 == blocks.len();
        match number {
            Some(number) => *number == at as u64 + 1,
            None => is_last && entries.end.is_some(),
        }
    });
    findings.check("the log has each block once and in order", in_order, show);
    let ends = entries.end.is_none() || blocks.last().is_some_and(|(number, _)| number.is_none());
    findings.check("the end lies behind the block that says it", ends, show);
    let one_by_one = blocks.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    findings.check("blocks of two writers do not mix", one_by_one, show);
    acknowledged(about, entries, findings);
    if let Some(removed) = about.removed {
        let is_excused = about.lost_since(removed);
        findings.check("what was removed stays away", is_excused, show);
    }
}

/// What the store said it has, and did not lose itself.
fn acknowledged(about: &About<'_>, entries: &Entries, findings: &mut Findings) {
    let (mut has, mut on_disk) = ((0, None), (0, None));
    let mut lost_at = Duration::ZERO;
    for heard in &about.record.heard {
        match heard.event {
            Event::Appended {
                stream,
                blocks,
                end,
                ..
            } if stream == about.stream && (heard.asked > lost_at || lost_at.is_zero()) => {
                has = (blocks.max(has.0), end.or(has.1));
            }
            Event::Remembered => on_disk = has,
            Event::WentBack => (has, lost_at) = (on_disk, heard.at),
            Event::LostAll => (has, on_disk, lost_at) = ((0, None), (0, None), heard.at),
            _ => {}
        }
    }
    if !about.is_gone() {
        let (blocks, end) = has;
        let is_there =
            entries.blocks.len() as u64 >= blocks && (end.is_none() || entries.end == end);
        findings.check("what was acknowledged is there", is_there, || {
            format!("{blocks} blocks and {end:?}, but {entries:?}")
        });
    }
}

fn of_ends(about: &About<'_>, findings: &mut Findings) {
    let mut last: Option<(Duration, StreamEnd, u64)> = None;
    for heard in &about.record.heard {
        if let Event::Appended {
            stream,
            epoch,
            end: Some(end),
            ..
        } = heard.event
            && stream == about.stream
        {
            if let Some((at, before, by)) = last {
                let is_again = about.lost_since(at) && (end, epoch) != (before, by)
                    || (end, epoch) == (before, by);
                findings.check("a stream ends once in the store", is_again, || {
                    format!("{before:?} by {by}, then {end:?} by {epoch}")
                });
            }
            last = Some((heard.at, end, epoch));
        }
    }
    // Readers at a writer may hear of an end before the store, where that does not answer; and what it lost it lost.
    let is_excused = about.writers.iter().any(|writer| writer.told_early)
        || !about.losses.is_empty()
        || about.is_gone();
    if is_excused {
        return;
    }
    let of_stream = about.record.clients.iter();
    let of_stream = of_stream.filter(|client| client.stream == about.stream);
    let stored = about.stored.as_ref().ok().and_then(|stored| stored.end);
    let ends = of_stream.filter_map(|client| Some(client.ends.first()?.1));
    for end in ends {
        findings.check(
            "all readers get the end that is stored",
            stored == Some(end),
            || format!("a reader has {end:?}, the store {stored:?}"),
        );
    }
}

fn of_readers(about: &About<'_>, findings: &mut Findings) {
    let of_stream = about.record.clients.iter();
    let last = of_stream.filter(|client| client.stream == about.stream && client.is_last);
    for client in last {
        let ended = client.ends.first().map(|(at, _)| *at);
        let in_time = ended.is_some_and(|at| at <= client.came + BOUND);
        let failed = client
            .errors
            .first()
            .is_some_and(|(_, error)| matches!(error, StoreError::Unknown | StoreError::Expired));
        let was_never = about.writers.is_empty();
        // The store had not heard of it.
        let unclaimed = !about.record.heard.iter().any(|heard| {
            let is_claim =
                matches!(heard.event, Event::Claimed { stream, .. } if stream == about.stream);
            is_claim && heard.at < client.came
        });
        let is_excused = was_never || unclaimed || about.is_gone() || !about.losses.is_empty();
        findings.check(
            "who reads when all is well has an end in time",
            in_time || (failed && is_excused),
            || {
                format!(
                    "stream {}: ends {:?}, errors {:?}",
                    about.stream, client.ends, client.errors
                )
            },
        );
    }
}

fn of_claims(about: &About<'_>, findings: &mut Findings) {
    let claims = about
        .record
        .heard
        .iter()
        .filter_map(|heard| match &heard.event {
            Event::Claimed {
                stream,
                epoch,
                is_release: false,
                ..
            } if *stream == about.stream => Some((heard.asked, heard.at, *epoch)),
            _ => None,
        });
    for (at, writer) in about.writers.iter().enumerate() {
        let is_only = about.writers[..at]
            .iter()
            .all(|other| other.epoch != writer.epoch || about.lost_since(other.began));
        findings.check("a claim has one writer", is_only, || {
            format!("{:?}", about.writers)
        });
    }
    for (asked, at, epoch) in claims {
        for writer in &about.writers {
            if writer.epoch >= epoch {
                continue;
            }
            let runs = writer
                .over
                .as_ref()
                .is_none_or(|(over, state)| *over >= asked && *state == RecorderState::Lost);
            let runs = runs && writer.died.is_none_or(|died| died > at);
            let since = asked.saturating_sub(GRACE + Duration::from_millis(300));
            let was_well = writer.began < since && about.is_well(writer.node, since, at);
            let lost = about.lost_since(since.saturating_sub(RETRY));
            findings.check(
                "nobody takes a stream from a node that is well",
                !(runs && was_well) || lost,
                || format!("epoch {epoch} at {at:?} from {writer:?}"),
            );
            // All was repaired, and it had time to hear of it.
            let ended_in_time = writer.over.is_some() || writer.died.is_some();
            let had_time = at < CALM + Duration::from_secs(5);
            if had_time && !about.lost_since(at) {
                findings.check("who lost a claim stops", ended_in_time, || {
                    format!("epoch {epoch} at {at:?}, and it runs: {writer:?}")
                });
            }
        }
    }
}

fn of_cancels(about: &About<'_>, findings: &mut Findings) {
    for heard in &about.record.heard {
        let stream = about.stream;
        if heard.event != (Event::Cancelled { stream }) {
            continue;
        }
        let until = heard.at + RETRY;
        for writer in &about.writers {
            let ran = writer.began < heard.asked
                && writer.said_end.is_none_or(|(at, _)| at > until)
                && writer.over.as_ref().is_none_or(|(at, _)| *at > until)
                && writer.died.is_none_or(|at| at > until);
            let well = about.is_well(writer.node, heard.asked.saturating_sub(RETRY), until);
            let lost = about.lost_since(heard.asked);
            let hears = writer.saw_cancel.is_some_and(|at| at <= until);
            if hears || (ran && well && !lost && about.to_be_removed.is_none()) {
                findings.check("a cancel reaches the writer", hears, || {
                    format!("at {:?}: {writer:?}", heard.at)
                });
            }
        }
    }
}

/// The node on which it began never died and kept the claim: then all lies in the store, whatever that lost meanwhile.
fn of_living_writers(plan: &Plan, about: &About<'_>, findings: &mut Findings) {
    let [writer] = about.writers[..] else {
        return;
    };
    let Some((_, RecorderState::Done)) = &writer.over else {
        if writer.died.is_none() && writer.over.is_none() && about.to_be_removed.is_none() {
            let says = || format!("{writer:?}");
            findings.check("a writer that lives comes to its end", false, says);
        }
        return;
    };
    let Some((over, _)) = writer.over else {
        return;
    };
    let Some((_, end)) = writer.said_end else {
        return;
    };
    let lived = writer.died.is_none() && writer.is_owner && about.to_be_removed.is_none();
    // What is lost a while after the end nobody has any more.
    let lost_late = about.lost_since(over + Duration::from_secs(1));
    // Nor what was lost right behind it, while its node had no way to the store for as long as it has patience.
    let looks = (0..28).map(|second| over + LINGER + Duration::from_secs(second));
    let mut looks = looks.map(|at| about.is_well(writer.node, at, at + RETRY));
    let is_cut = !about.losses.is_empty() && !looks.any(|is_well| is_well);
    if !lived || lost_late || is_cut || about.is_given_up {
        return;
    }
    let is_whole = about.stored.as_ref().is_ok_and(|stored| {
        let blocks = plan.streams[about.stream].blocks.len() + 1;
        let whole = end != StreamEnd::Completed || stored.blocks.len() == blocks;
        stored.end == Some(end) && whole
    });
    findings.check("what a living writer wrote is stored", is_whole, || {
        format!("{writer:?}: {:?}", about.stored)
    });
}

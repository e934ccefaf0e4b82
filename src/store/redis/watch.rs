//! One command that waits for whatever comes: into all streams that are read here, and for the writers here.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::redis::{Cmd, Pipeline, Value, pipe};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::{
    connection::Link,
    keys::{INBOX_ENTRIES, INBOX_KEPT},
    links::Links,
    values,
};
use crate::store::{Entries, StoreError};

/// How long the server holds the command back while nothing comes. A connection that is dead is found after that, and who reads no more
/// is forgotten.
const BLOCK: Duration = Duration::from_secs(2);

/// How long what comes is left to gather after something came, so that one answer brings what many nodes wrote.
const GATHER: Duration = Duration::from_millis(2);

/// How many entries of one stream an answer brings.
const ENTRIES: usize = 128;

/// How many answers wait for one reader. One that is further behind reads on by itself when it has taken those.
const WAITING_ANSWERS: usize = 16;

/// How often it is looked whether streams on which nothing comes are still there, and whether a cancel was missed.
const LOOK: Duration = Duration::from_secs(5);

/// About how many streams one command looks after.
const LOOKED_AT_ONCE: usize = 500;

/// How long it is before it is tried again, where it failed.
const PAUSE: Duration = Duration::from_millis(100);

/// What a reader is given, from the block on that it asked for. It ends where it is behind, or nobody watches any more: then it asks again.
pub(super) type Arrivals = mpsc::Receiver<Result<Entries, StoreError>>;

/// Whether the writer is to stop, or its stream is gone. Closed where nobody watches any more.
pub(super) type Told = oneshot::Receiver<Result<(), StoreError>>;

pub(super) struct Watch {
    /// Its own connection: the command that waits holds up all behind it.
    link: Arc<Link>,
    /// For all else.
    commands: Arc<Links>,
    inbox: String,
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By the key of the log.
    read: HashMap<String, Read>,
    /// By the key of the state.
    written: HashMap<String, Vec<oneshot::Sender<Result<(), StoreError>>>>,
    readers: usize,
    /// The number of who watches.
    running: Option<u64>,
    ran: u64,
    /// The command is out, and does not know of what was added since.
    is_waiting: bool,
    is_called: bool,
}

struct Read {
    state: String,
    readers: Vec<Reader>,
    /// Since when nothing came.
    still: bool,
    /// From which block on the command asks; nothing where it does not know of this log yet.
    asked: Option<u64>,
}

struct Reader {
    /// The next block of the log.
    next: u64,
    /// The first block that it wants. It may be ahead of the log.
    from: u64,
    arrivals: mpsc::Sender<Result<Entries, StoreError>>,
}

impl Watch {
    pub(super) fn new(link: Link, commands: Arc<Links>, inbox: String) -> Self {
        Self {
            link: Arc::new(link),
            limit: commands.options().watched,
            commands,
            inbox,
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes into a log from a block on that is not there yet; `next` is what comes next.
    pub(super) fn read(
        self: &Arc<Self>,
        log: String,
        state: String,
        next: u64,
        from: u64,
    ) -> Result<Arrivals, StoreError> {
        let (arrivals, read) = mpsc::channel(WAITING_ANSWERS);
        let mut table = self.table();
        if table.readers >= self.limit {
            let why = format!("{} streams are watched already", table.readers);
            return Err(StoreError::Unavailable(why));
        }
        table.readers += 1;
        let reader = Reader {
            next,
            from,
            arrivals,
        };
        let still = false;
        let readers = Vec::new();
        let read_here = table.read.entry(log).or_insert(Read {
            state,
            readers,
            still,
            asked: None,
        });
        read_here.readers.push(reader);
        self.attend(table);
        Ok(read)
    }

    /// Resolves when the writer of the stream with this state is to stop.
    pub(super) fn write(self: &Arc<Self>, state: String) -> Told {
        let (tell, told) = oneshot::channel();
        let mut table = self.table();
        table.written.entry(state).or_default().push(tell);
        self.attend(table);
        told
    }

    /// Has somebody watch, who knows of what was added.
    fn attend(self: &Arc<Self>, mut table: MutexGuard<'_, Table>) {
        if table.running.is_none() {
            table.ran += 1;
            table.running = Some(table.ran);
            let watching = Watching(Arc::clone(self), table.ran);
            // Where the runtime ends right now, what is spawned is dropped, and looks at the table.
            drop(table);
            tokio::spawn(watching.run());
        } else if table.is_waiting && !table.is_called {
            table.is_called = true;
            drop(table);
            let watch = Arc::clone(self);
            // Where that fails it waits until the command comes back by itself.
            tokio::spawn(async move {
                let mut call = pipe();
                call.cmd("XADD").arg(&watch.inbox);
                call.arg("MAXLEN").arg("~").arg(INBOX_ENTRIES);
                call.arg("*").arg("look").arg(1);
                call.cmd("PEXPIRE").arg(&watch.inbox).arg(INBOX_KEPT);
                let _ = watch.commands.here().ask_all(&call).await;
            });
        }
    }

    /// The command that waits for all there is to wait for; nothing where there is nothing, and then nobody waits.
    fn command(&self, inbox: &str) -> Option<Cmd> {
        let mut table = self.table();
        table.prune();
        if table.read.is_empty() && table.written.is_empty() {
            table.running = None;
            return None;
        }
        (table.is_waiting, table.is_called) = (true, false);
        let mut command = Cmd::with_capacity(8 + table.read.len() * 2, 64 * table.read.len() + 64);
        command.arg("XREAD").arg("COUNT").arg(ENTRIES);
        command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.inbox);
        for log in table.read.keys() {
            command.arg(log);
        }
        command.arg(inbox);
        let mut last = String::new();
        for read in table.read.values_mut() {
            let next = read.readers.iter().map(|reader| reader.next).min();
            let next = next.unwrap_or(1);
            read.asked = Some(next);
            last.clear();
            // A text takes all that is written to it.
            let _ = write!(last, "{}-0", next.saturating_sub(1));
            command.arg(&last);
        }
        Some(command)
    }

    fn deliver(&self, answer: Value, inbox: &mut String) {
        let mut table = self.table();
        for stream in values::array(answer).unwrap_or_default() {
            let parts = values::array(stream).and_then(|parts| <[_; 2]>::try_from(parts).ok());
            let Some([key, entries]) = parts else {
                continue;
            };
            let entries = values::array(entries).unwrap_or_default();
            match values::text(&key) {
                Some(key) if key == self.inbox => {
                    if let Some(last) = entries.last().and_then(values::id) {
                        last.clone_into(inbox);
                    }
                    for (state, said) in entries.into_iter().filter_map(values::said) {
                        table.tell(&state, said);
                    }
                }
                Some(key) => table.deliver(key, entries),
                None => {}
            }
        }
    }

    /// Readers can come again when the server is back. Writers go on, and hear of it otherwise.
    fn fail(&self, error: &StoreError) {
        let mut table = self.table();
        for (_, read) in std::mem::take(&mut table.read) {
            for reader in read.readers {
                // One that is behind finds out by itself.
                let _ = reader.arrivals.try_send(Err(error.clone()));
            }
        }
        table.readers = 0;
    }

    /// Looks after streams on which nothing came, and after what writers may have missed.
    async fn look(&self) {
        let (states, logs) = self.table().still();
        let mut found = Vec::with_capacity(states.len());
        for some in states.chunks(LOOKED_AT_ONCE) {
            let mut asked = Pipeline::with_capacity(some.len());
            for state in some {
                asked.cmd("HMGET").arg(state).arg("epoch").arg("cancel");
            }
            // Later, then.
            let Ok(answers) = self.commands.here().ask_all(&asked).await else {
                return;
            };
            found.extend(answers.into_iter().map(values::told));
        }
        let mut table = self.table();
        for (state, told) in states.iter().zip(&found) {
            if let Some(told) = told {
                table.tell(state, told.clone());
            }
            if *told == Some(Err(StoreError::Unknown))
                && let Some(log) = logs.get(state)
            {
                table.end(log, &StoreError::Expired);
            }
        }
    }
}

impl Table {
    fn prune(&mut self) {
        self.read.retain(|_, read| {
            read.readers.retain(|reader| !reader.arrivals.is_closed());
            !read.readers.is_empty()
        });
        self.readers = self.read.values().map(|read| read.readers.len()).sum();
        self.written.retain(|_, tell| {
            tell.retain(|tell| !tell.is_closed());
            !tell.is_empty()
        });
    }

    fn tell(&mut self, state: &str, told: Result<(), StoreError>) {
        for tell in self.written.remove(state).into_iter().flatten() {
            // It may have stopped waiting.
            let _ = tell.send(told.clone());
        }
    }

    fn deliver(&mut self, log: &str, entries: Vec<Value>) {
        let Some(read) = self.read.get_mut(log) else {
            return;
        };
        // The command that brings this did not ask for these readers.
        let Some(asked) = read.asked else {
            return;
        };
        read.still = false;
        // What one that came since looked at is older than this: it looks again by itself.
        read.readers.retain(|reader| reader.next >= asked);
        let entries = match values::entries(entries, asked) {
            Ok(entries) => entries,
            // Whoever reads it finds out what became of it.
            Err(StoreError::TooLarge) => return self.end(log, &StoreError::TooLarge),
            Err(StoreError::Unknown) => return self.end(log, &StoreError::Expired),
            Err(error) => return self.end(log, &error),
        };
        let after = entries.first + entries.blocks.len() as u64;
        read.readers.retain_mut(|reader| {
            let first = reader.next.max(reader.from).min(after);
            let skip = usize::try_from(first.saturating_sub(entries.first)).unwrap_or(usize::MAX);
            let own = Entries {
                first,
                blocks: entries.blocks.iter().skip(skip).cloned().collect(),
                end: entries.end,
            };
            reader.next = reader.next.max(after);
            if own.blocks.is_empty() && own.end.is_none() {
                return true;
            }
            let is_over = own.end.is_some();
            reader.arrivals.try_send(Ok(own)).is_ok() && !is_over
        });
    }

    fn end(&mut self, log: &str, error: &StoreError) {
        for reader in self
            .read
            .remove(log)
            .into_iter()
            .flat_map(|read| read.readers)
        {
            // One that is behind finds out by itself.
            let _ = reader.arrivals.try_send(Err(error.clone()));
        }
    }

    /// The states to look at, and the logs of those on which nothing came since the last time.
    fn still(&mut self) -> (Vec<String>, HashMap<String, String>) {
        let mut logs = HashMap::new();
        for (log, read) in &mut self.read {
            if std::mem::replace(&mut read.still, true) {
                logs.insert(read.state.clone(), log.clone());
            }
        }
        let written = self.written.keys().cloned();
        let mut states: Vec<_> = written.chain(logs.keys().cloned()).collect();
        states.sort_unstable();
        states.dedup();
        (states, logs)
    }
}

/// Who stops watching, however that comes, leaves nobody waiting.
struct Watching(Arc<Watch>, u64);

impl Watching {
    async fn run(self) {
        let watch = &self.0;
        let mut inbox = "0-0".to_owned();
        let mut looked = Instant::now();
        while let Some(command) = watch.command(&inbox) {
            let time = BLOCK + watch.commands.options().command_timeout;
            let answer = watch.link.ask_within(&command, time).await;
            watch.table().is_waiting = false;
            let pause = match answer {
                Ok(Value::Nil) => Duration::ZERO,
                Ok(answer) => {
                    watch.deliver(answer, &mut inbox);
                    GATHER
                }
                Err(error) => {
                    watch.fail(&error);
                    PAUSE
                }
            };
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                watch.look().await;
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut table = self.0.table();
        if table.running == Some(self.1) {
            let ran = table.ran;
            *table = Table::default();
            table.ran = ran;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: String) -> Value {
        Value::BulkString(text.into_bytes())
    }

    /// What the server says of these blocks of a log.
    fn entries(numbers: std::ops::RangeInclusive<u64>) -> Vec<Value> {
        let entry = |number| {
            let fields = vec![text("block".to_owned()), text(format!("{number}"))];
            Value::Array(vec![text(format!("{number}-0")), Value::Array(fields)])
        };
        numbers.map(entry).collect()
    }

    fn reader(next: u64) -> (Reader, Arrivals) {
        let (arrivals, read) = mpsc::channel(WAITING_ANSWERS);
        let from = next;
        let reader = Reader {
            next,
            from,
            arrivals,
        };
        (reader, read)
    }

    #[test]
    fn a_reader_that_came_meanwhile_ends_nobody() {
        for (asked, next) in [(None, 1), (Some(4), 1), (Some(4), 4), (Some(4), 6)] {
            let (first, mut arrivals) = reader(4);
            let (late, mut arrived_late) = reader(next);
            let read = Read {
                state: String::new(),
                readers: vec![first, late],
                still: true,
                asked,
            };
            let mut table = Table::default();
            table.read.insert("log".to_owned(), read);
            table.deliver("log", entries(4..=5));
            if asked.is_none() {
                // The next command asks for what both need.
                assert_eq!(arrivals.try_recv(), Err(mpsc::error::TryRecvError::Empty));
                assert_eq!(
                    arrived_late.try_recv(),
                    Err(mpsc::error::TryRecvError::Empty)
                );
                continue;
            }
            let first = arrivals.try_recv().expect("what came").expect("entries");
            assert_eq!((first.first, first.blocks.len()), (4, 2));
            let late = arrived_late.try_recv();
            match next {
                // It reads on by itself.
                1 => assert_eq!(late, Err(mpsc::error::TryRecvError::Disconnected)),
                4 => assert_eq!(late.unwrap().unwrap().blocks.len(), 2),
                _ => assert_eq!(late, Err(mpsc::error::TryRecvError::Empty)),
            }
        }
    }
}

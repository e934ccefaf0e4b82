//! Plays a plan: nodes around the recorder and the follower of the crate, as the relay is one.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_responses::{
    bytes::Bytes,
    store::{
        Claim, Entries, StoreError, StoreLimits, StreamEnd, StreamInfo, StreamStore,
        follow::{Followed, follow, follow_lost},
        recorder::{Begin, Held, Recorder, RecorderSettings, RecorderState},
    },
    testing::FaultyStore,
};
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::{
    task::{LocalSet, spawn_local},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    heard::{Event, Heard, Link, Log, key},
    plan::{CALM, Fault, NODES, Plan, Visit},
    process::{Answer, Process},
    sabotage::Sabotage,
};

/// After the repair: for the claims to run out, for a take-over, and for who waits for a store.
const AFTER_CALM: Duration = Duration::from_secs(20);

/// What became of a plan.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) heard: Vec<Heard>,
    pub(crate) writers: Vec<Writer>,
    pub(crate) clients: Vec<Client>,
    /// Of each node, when it began or ceased to be well.
    pub(crate) health: Vec<Vec<(Duration, bool)>>,
    /// What lies in the store when all is over.
    pub(crate) stored: Vec<Result<Entries, StoreError>>,
    pub(crate) trace: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) stream: usize,
    pub(crate) node: usize,
    pub(crate) epoch: u64,
    pub(crate) began: Duration,
    pub(crate) is_owner: bool,
    pub(crate) said_end: Option<(Duration, StreamEnd)>,
    /// Its readers were told the end before the store had it.
    pub(crate) told_early: bool,
    pub(crate) saw_cancel: Option<Duration>,
    pub(crate) over: Option<(Duration, RecorderState)>,
    pub(crate) died: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) stream: usize,
    pub(crate) is_last: bool,
    pub(crate) came: Duration,
    pub(crate) has: u64,
    pub(crate) ends: Vec<(Duration, StreamEnd)>,
    pub(crate) errors: Vec<(Duration, StoreError)>,
    /// An end came without the block that says so.
    pub(crate) bare_ends: u64,
    pub(crate) wrong: Vec<String>,
}

struct Slot {
    link: FaultyStore,
    process: RefCell<Option<Rc<Process>>>,
    downs: Cell<u32>,
    troubles: Cell<u32>,
    lives: Cell<u32>,
}

pub(crate) struct World {
    plan: Plan,
    sabotage: Option<Sabotage>,
    log: Arc<Log>,
    settings: RecorderSettings,
    root: FaultyStore,
    slots: Vec<Slot>,
    /// When somebody told the server to stop.
    cancelled: Vec<Cell<Option<Duration>>>,
    record: RefCell<Record>,
    traces: bool,
}

pub(crate) fn run(plan: &Plan, sabotage: Option<Sabotage>, traces: bool) -> Record {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let plan = plan.clone();
    let record = runtime.block_on(LocalSet::new().run_until(async move {
        let world = World::new(plan, sabotage, traces);
        world.clone().play().await;
        let mut record = world.record.take();
        record.heard = world.log.all();
        record
    }));
    drop(runtime);
    record
}

impl World {
    fn new(plan: Plan, sabotage: Option<Sabotage>, traces: bool) -> Rc<Self> {
        let root = FaultyStore::new(StoreLimits::default());
        let slots = (0..NODES).map(|_| Slot {
            link: root.other_node(),
            process: RefCell::default(),
            downs: Cell::default(),
            troubles: Cell::default(),
            lives: Cell::default(),
        });
        let settings = RecorderSettings::default()
            .with_ticks_from(Instant::now())
            .with_held(Arc::new(Held::default()));
        let record = Record {
            health: vec![vec![(Duration::ZERO, true)]; NODES],
            ..Record::default()
        };
        Rc::new(Self {
            cancelled: plan.streams.iter().map(|_| Cell::default()).collect(),
            plan,
            sabotage,
            log: Log::new(),
            settings,
            slots: slots.collect(),
            root,
            record: RefCell::new(record),
            traces,
        })
    }

    fn now(&self) -> Duration {
        self.log.now()
    }

    fn at(&self, time: Duration) -> Instant {
        Instant::now() + time.saturating_sub(self.now())
    }

    fn trace(&self, line: impl FnOnce() -> String) {
        if self.traces {
            let line = format!("{:>9.3} {}", self.now().as_secs_f64(), line());
            self.record.borrow_mut().trace.push(line);
        }
    }

    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    fn process(&self, node: usize) -> Option<Rc<Process>> {
        self.slots[node].process.borrow().clone()
    }

    fn start(&self, node: usize) {
        let slot = &self.slots[node];
        slot.lives.set(slot.lives.get() + 1);
        let name = format!("node {node}, life {}", slot.lives.get());
        let link = Link::new(slot.link.clone(), self.log.clone(), self.sabotage);
        *slot.process.borrow_mut() = Some(Process::new(node, name, Arc::new(link)));
    }

    fn kill(&self, process: &Process) {
        if process.is_dead() {
            return;
        }
        process.kill();
        let now = self.now();
        for writer in &mut self.record.borrow_mut().writers {
            if writer.node == process.node && writer.died.is_none() {
                writer.died = Some(now);
            }
        }
        *self.slots[process.node].process.borrow_mut() = None;
    }

    /// Something is wrong with a node, or not any more.
    fn trouble(&self, node: usize, more: bool) {
        let slot = &self.slots[node];
        let before = slot.troubles.get();
        let now = if more { before + 1 } else { before - 1 };
        slot.troubles.set(now);
        if (before == 0) != (now == 0) {
            let change = (self.now(), now == 0);
            self.record.borrow_mut().health[node].push(change);
        }
    }

    fn cut(&self, node: usize, more: bool) {
        let slot = &self.slots[node];
        let downs = slot.downs.get();
        slot.downs.set(if more { downs + 1 } else { downs - 1 });
        slot.link.set_down(slot.downs.get() > 0);
    }

    async fn play(self: Rc<Self>) {
        for node in 0..NODES {
            self.start(node);
        }
        let mut tasks = Vec::new();
        let world = self.clone();
        tasks.push(spawn_local(async move {
            loop {
                world.root.remember();
                world.log.hear(world.now(), Event::Remembered);
                sleep(Duration::from_secs(1)).await;
            }
        }));
        for stream in 0..self.plan.streams.len() {
            tasks.push(spawn_local(self.clone().begin(stream)));
        }
        for (at, fault) in self.plan.faults.clone() {
            tasks.push(spawn_local(self.clone().break_something(at, fault)));
        }
        for client in self.plan.clients.clone() {
            let index = self.new_client(client.stream, false);
            tasks.push(spawn_local(self.clone().come_and_go(index, client.visits)));
        }
        // What breaks is repaired by then, but for what lasts longer.
        sleep(CALM).await;
        self.repair();
        for stream in 0..self.plan.streams.len() {
            for node in 0..NODES {
                let index = self.new_client(stream, true);
                let visit = Visit {
                    after: Duration::ZERO,
                    node,
                    stays: AFTER_CALM,
                };
                tasks.push(spawn_local(self.clone().come_and_go(index, vec![visit])));
            }
        }
        sleep(AFTER_CALM).await;
        for stream in 0..self.plan.streams.len() {
            let stored = self.stored(stream).await;
            self.record.borrow_mut().stored.push(stored);
        }
        for task in tasks {
            task.abort();
        }
    }

    async fn stored(&self, stream: usize) -> Result<Entries, StoreError> {
        let mut all = self.root.read(&key(stream), 1).await?;
        while all.end.is_none() {
            let next = all.blocks.len() as u64 + 1;
            let more = self.root.read(&key(stream), next).await?;
            if more.blocks.is_empty() && more.end.is_none() {
                break;
            }
            all.blocks.extend(more.blocks);
            all.end = more.end;
        }
        Ok(all)
    }

    fn repair(&self) {
        self.trace(|| "all is repaired".to_owned());
        for (node, slot) in self.slots.iter().enumerate() {
            slot.link.set_delays([]);
            slot.link.lose_answers(0);
            slot.link.set_down(false);
            if let Some(process) = self.process(node) {
                process.hold(false);
            } else {
                self.start(node);
            }
        }
    }

    async fn break_something(self: Rc<Self>, at: Duration, fault: Fault) {
        sleep(at).await;
        self.trace(|| format!("{fault:?}"));
        match fault {
            Fault::Kill { node, back_after } => {
                let Some(process) = self.process(node) else {
                    return;
                };
                self.kill(&process);
                self.come_back(node, back_after).await;
            }
            Fault::Terminate { node, back_after } => {
                let Some(process) = self.process(node) else {
                    return;
                };
                *self.slots[node].process.borrow_mut() = None;
                process.leave.say();
                sleep(Duration::from_millis(300)).await;
                self.kill(&process);
                self.come_back(node, back_after).await;
            }
            Fault::Pause { node, lasts } => {
                let Some(process) = self.process(node) else {
                    return;
                };
                self.trouble(node, true);
                process.hold(true);
                sleep(lasts).await;
                process.hold(false);
                self.trouble(node, false);
            }
            Fault::Cut { node, lasts } => {
                self.cut_for(node..node + 1, lasts).await;
            }
            Fault::Down { lasts } => self.cut_for(0..NODES, lasts).await,
            Fault::Slow {
                node,
                delays,
                lasts,
            } => {
                self.trouble(node, true);
                let longest = delays.iter().max().copied().unwrap_or_default();
                self.slots[node].link.set_delays(delays);
                sleep(lasts).await;
                self.slots[node].link.set_delays([]);
                // What is on its way comes late.
                sleep(longest).await;
                self.trouble(node, false);
            }
            Fault::LoseAnswers { node, count } => {
                self.trouble(node, true);
                self.slots[node].link.lose_answers(count);
                sleep(Duration::from_secs(10)).await;
                self.slots[node].link.lose_answers(0);
                self.trouble(node, false);
            }
            Fault::LoseAll => {
                self.root.lose_all();
                self.log.hear(self.now(), Event::LostAll);
            }
            Fault::LoseTheLastSecond => {
                self.root.go_back();
                self.log.hear(self.now(), Event::WentBack);
            }
            Fault::Cancel { stream, node } => {
                if let Some(process) = self.process(node) {
                    let store = process.store.clone();
                    process.spawn(async move {
                        // A store that is away, or a stream that is not there, says so to who asked.
                        let _ = store.cancel(&key(stream)).await;
                    });
                }
            }
            Fault::Remove { stream, node } => {
                if let Some(process) = self.process(node) {
                    let store = process.store.clone();
                    self.log.hear(self.now(), Event::ToBeRemoved { stream });
                    process.spawn(async move {
                        let _ = store.remove(&key(stream)).await;
                    });
                }
            }
        }
    }

    async fn come_back(&self, node: usize, after: Duration) {
        self.trouble(node, true);
        sleep(after).await;
        if self.process(node).is_none() {
            self.start(node);
        }
        self.trouble(node, false);
    }

    async fn cut_for(&self, nodes: std::ops::Range<usize>, lasts: Duration) {
        for node in nodes.clone() {
            self.trouble(node, true);
            self.cut(node, true);
        }
        sleep(lasts).await;
        for node in nodes {
            self.cut(node, false);
            self.trouble(node, false);
        }
    }
}

/// Writers.
impl World {
    async fn begin(self: Rc<Self>, stream: usize) {
        let plan = &self.plan.streams[stream];
        sleep(plan.begins).await;
        let Some(process) = self.process(plan.node) else {
            return;
        };
        let answer = Rc::new(Answer::default());
        let begin = Begin {
            about: Some("about".into()),
            ..Begin::default()
        };
        process.answers.borrow_mut().insert(stream, answer.clone());
        let name = process.name.clone();
        self.write(&process, stream, &name, begin, Some(answer));
    }

    fn write(
        self: &Rc<Self>,
        process: &Rc<Process>,
        stream: usize,
        name: &str,
        begin: Begin,
        answer: Option<Rc<Answer>>,
    ) {
        let (epoch, blocks) = (begin.epoch, begin.blocks);
        let (recorder, task) = Recorder::new(
            process.store.clone(),
            key(stream),
            name,
            begin,
            self.settings.clone(),
        );
        process.spawn(task);
        self.trace(|| format!("{name} writes stream {stream} with epoch {epoch} from {blocks} on"));
        let writer = Writer {
            stream,
            node: process.node,
            epoch,
            began: self.now(),
            is_owner: answer.is_some(),
            said_end: None,
            told_early: false,
            saw_cancel: None,
            over: None,
            died: None,
        };
        let mut record = self.record.borrow_mut();
        let index = record.writers.len();
        record.writers.push(writer);
        drop(record);
        let pump = Pump {
            world: self.clone(),
            stream,
            epoch,
            recorder,
            answer,
            writer: index,
        };
        let can_go_on = self.plan.streams[stream].is_resumable || pump.answer.is_some();
        let leave = process.leave.clone();
        process.spawn(async move {
            let leaving = leave.said();
            if can_go_on {
                pump.relay(blocks, leaving).await;
            } else {
                pump.finish("lost", StreamEnd::Failed).await;
            }
        });
    }

    fn take_over(
        self: &Rc<Self>,
        process: &Rc<Process>,
        stream: usize,
        claim: &Claim,
        info: &StreamInfo,
    ) {
        let begin = Begin {
            epoch: claim.epoch,
            blocks: info.blocks,
            ..Begin::default()
        };
        let begin = match self.sabotage {
            Some(Sabotage::TakeOversBeginAnew) => Begin {
                about: Some(Bytes::from_static(b"anew")),
                ..begin
            },
            _ => begin,
        };
        self.write(process, stream, &claim.node, begin, None);
    }
}

/// What brings the blocks of a server to one writer and its readers.
struct Pump {
    world: Rc<World>,
    stream: usize,
    epoch: u64,
    recorder: Recorder,
    /// Of the node that the client asked.
    answer: Option<Rc<Answer>>,
    writer: usize,
}

impl Pump {
    fn note(&self, note: impl FnOnce(&mut Writer)) {
        note(&mut self.world.record.borrow_mut().writers[self.writer]);
    }

    async fn relay(self, mut has: u64, leaving: impl Future<Output = ()>) {
        let world = self.world.clone();
        let plan = &world.plan.streams[self.stream];
        if world.is(Sabotage::TakeOversBeginAnew) && self.answer.is_none() {
            has = 0;
        }
        let cancelled = &world.cancelled[self.stream];
        let lost = self.recorder.lost();
        let asked_to_stop = self.recorder.cancelled();
        tokio::pin!(lost, asked_to_stop, leaving);
        let mut is_told = false;
        loop {
            let is_sent = |at: &&Duration| {
                cancelled
                    .get()
                    .is_none_or(|stop| plan.begins + **at <= stop)
            };
            let next = plan.blocks.get(has as usize).filter(is_sent);
            let last = plan.blocks.last().copied().unwrap_or_default();
            let due = match cancelled.get() {
                Some(_) if next.is_none() => Duration::ZERO,
                _ => plan.begins + next.copied().unwrap_or(last),
            };
            tokio::select! {
                biased;
                () = &mut lost, if !world.is(Sabotage::TheLostGoOn) => return self.is_lost(),
                () = &mut leaving => return self.leave().await,
                () = &mut asked_to_stop, if !is_told => {
                    is_told = true;
                    let now = world.now();
                    world.trace(|| format!("the writer with epoch {} hears of a cancel", self.epoch));
                    self.note(|writer| writer.saw_cancel = Some(now));
                    if cancelled.get().is_none() {
                        cancelled.set(Some(now));
                    }
                    continue;
                }
                () = sleep_until(world.at(due)) => {}
            }
            if next.is_none() {
                break;
            }
            has += 1;
            let block = format!("block {has} {}", self.epoch);
            self.recorder.push([Bytes::from(block.clone())]);
            if let Some(answer) = &self.answer {
                answer.push(block);
            }
        }
        let (says, end) = match cancelled.get() {
            Some(_) => ("cancelled", StreamEnd::Cancelled),
            None => ("completed", StreamEnd::Completed),
        };
        self.finish(says, end).await;
    }

    async fn leave(self) {
        let plan = &self.world.plan.streams[self.stream];
        if !plan.is_resumable {
            return self.finish("shut down", StreamEnd::Failed).await;
        }
        self.recorder.release();
        self.recorder.ended().await;
        self.is_over();
        if let Some(answer) = &self.answer {
            answer.cut();
        }
    }

    fn is_over(&self) {
        let (now, state) = (self.world.now(), self.recorder.state());
        let epoch = self.epoch;
        self.world.trace(|| {
            format!(
                "the writer of stream {} with epoch {epoch}: {state:?}",
                self.stream
            )
        });
        self.note(|writer| writer.over = Some((now, state)));
    }

    fn is_lost(&self) {
        self.is_over();
        if let Some(answer) = &self.answer {
            answer.lose();
        }
    }

    async fn finish(self, says: &str, end: StreamEnd) {
        let block = format!("{says} {}", self.epoch);
        self.recorder.end_with([Bytes::from(block.clone())], end);
        let now = self.world.now();
        self.world
            .trace(|| format!("stream {} ends: {block}", self.stream));
        self.note(|writer| writer.said_end = Some((now, end)));
        let state = if self.world.is(Sabotage::EndsAreToldAtOnce) {
            self.recorder.state()
        } else {
            self.recorder.ended().await
        };
        let lost = state == RecorderState::Lost && !self.world.is(Sabotage::TheLostGoOn);
        match &self.answer {
            Some(answer) if lost => answer.lose(),
            Some(answer) => {
                let hides = self.world.is(Sabotage::EndsAreToldAtOnce);
                self.note(|writer| writer.told_early = !state.is_over() && !hides);
                answer.tell(block, end);
            }
            None => {}
        }
        self.recorder.finished().await;
        self.is_over();
    }
}

/// Readers.
impl World {
    fn new_client(&self, stream: usize, is_last: bool) -> usize {
        let mut record = self.record.borrow_mut();
        let came = self.now();
        record.clients.push(Client {
            stream,
            is_last,
            came,
            ..Client::default()
        });
        record.clients.len() - 1
    }

    fn is_done(&self, client: usize) -> bool {
        !self.record.borrow().clients[client].ends.is_empty()
    }

    async fn come_and_go(self: Rc<Self>, client: usize, visits: Vec<Visit>) {
        let begins = {
            let record = self.record.borrow();
            let client = &record.clients[client];
            self.plan.streams[client.stream].begins
        };
        sleep_until(self.at(begins)).await;
        for visit in visits {
            sleep(visit.after).await;
            if self.is_done(client) {
                return;
            }
            let Some(process) = self.process(visit.node) else {
                continue;
            };
            let reads = self.clone().visit(process.clone(), client);
            let reading = process.spawn(reads);
            let stopped = reading.abort_handle();
            // It leaves, or was sent away.
            let _ = timeout(visit.stays, reading).await;
            stopped.abort();
        }
    }

    async fn visit(self: Rc<Self>, process: Rc<Process>, client: usize) {
        let (stream, has) = {
            let record = self.record.borrow();
            let client = &record.clients[client];
            (client.stream, client.has)
        };
        self.trace(|| format!("client {client} comes to {} with {has}", process.name));
        let answer = process.answers.borrow().get(&stream).cloned();
        let mut lacks_end = false;
        if let Some(answer) = answer.filter(|answer| answer.blocks.borrow().len() as u64 >= has) {
            if !self.read_here(&answer, client).await {
                return;
            }
            lacks_end = true;
        }
        self.read_store(process, client, stream, lacks_end).await;
    }

    /// Reads at the writer, and says whether it has to go on in the store.
    async fn read_here(&self, answer: &Answer, client: usize) -> bool {
        loop {
            if answer.is_lost.get() && !self.is(Sabotage::TheLostGoOn) {
                return true;
            }
            let has = self.record.borrow().clients[client].has;
            let blocks = answer.blocks.borrow()[has as usize..].to_vec();
            let end = answer.end.get();
            if !blocks.is_empty() || end.is_some() {
                self.take(client, has + 1, &blocks, end);
            }
            if end.is_some() || answer.is_cut.get() {
                return false;
            }
            answer.changed.notified().await;
        }
    }

    async fn read_store(
        self: Rc<Self>,
        process: Rc<Process>,
        client: usize,
        stream: usize,
        lacks_end: bool,
    ) {
        let mut has = self.record.borrow().clients[client].has;
        if self.is(Sabotage::ReadersBeginEarly) {
            has = has.saturating_sub(1);
        }
        let (store, settings) = (process.store.clone(), self.settings.clone());
        let mut followed: BoxStream<'_, _> = if lacks_end {
            follow_lost(store, key(stream), has + 1, &process.name, settings).boxed()
        } else {
            follow(store, key(stream), has + 1, &process.name, settings).boxed()
        };
        while let Some(followed) = followed.next().await {
            match followed {
                Ok(Followed::Entries(entries)) => {
                    let text = |block: &Bytes| String::from_utf8_lossy(block).into_owned();
                    let blocks: Vec<_> = entries.blocks.iter().map(text).collect();
                    self.take(client, entries.first, &blocks, entries.end);
                }
                Ok(Followed::Orphan { claim, info }) => {
                    self.trace(|| {
                        format!(
                            "client {client} finds stream {stream} without a writer: {}",
                            claim.node
                        )
                    });
                    self.take_over(&process, stream, &claim, &info);
                }
                Err(error) => {
                    self.trace(|| format!("client {client}: {error}"));
                    let now = self.now();
                    let mut record = self.record.borrow_mut();
                    record.clients[client].errors.push((now, error));
                }
            }
        }
    }

    fn take(&self, client: usize, first: u64, blocks: &[String], end: Option<StreamEnd>) {
        self.trace(|| format!("client {client} gets {first}: {blocks:?} {end:?}"));
        let now = self.now();
        let mut record = self.record.borrow_mut();
        let client = &mut record.clients[client];
        if !client.ends.is_empty() {
            client.wrong.push(format!("{blocks:?} behind the end"));
        }
        let is_ahead = first <= client.has;
        if first > client.has + 1 || (is_ahead && end.is_none()) {
            let wrong = format!("{first} after {}", client.has);
            client.wrong.push(wrong);
        }
        for (at, block) in blocks.iter().enumerate() {
            let is_last = at + 1 == blocks.len();
            let number = block.strip_prefix("block ");
            let number = number.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            match number {
                Some(number) if number == client.has + 1 => client.has += 1,
                Some(number) => {
                    let wrong = format!("block {number} after {}", client.has);
                    client.wrong.push(wrong);
                }
                // It says how it ended.
                None if is_last && end.is_some() => client.has += 1,
                None => client.wrong.push(format!("{block} in the middle")),
            }
        }
        if let Some(end) = end {
            client.ends.push((now, end));
            let is_bare = blocks.last().is_none_or(|last| last.starts_with("block"));
            client.bare_ends += u64::from(is_bare);
        }
    }
}

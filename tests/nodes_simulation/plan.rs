//! What happens in one seed: streams, those who read them, and what breaks when.

use std::time::Duration;

use crate::rng::Rng;

pub(crate) const NODES: usize = 3;
/// When the last thing breaks. After it all is repaired, and looked at.
pub(crate) const CALM: Duration = Duration::from_secs(45);

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) streams: Vec<StreamPlan>,
    pub(crate) clients: Vec<ClientPlan>,
    /// In the order of their times.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

#[derive(Clone, Debug)]
pub(crate) struct StreamPlan {
    pub(crate) node: usize,
    pub(crate) begins: Duration,
    /// When the server sends each block, from the beginning on; it ends with the last.
    pub(crate) blocks: Vec<Duration>,
    /// The server goes on with it for whoever asks.
    pub(crate) is_resumable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) stream: usize,
    pub(crate) visits: Vec<Visit>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// After the one before.
    pub(crate) after: Duration,
    pub(crate) node: usize,
    pub(crate) stays: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Kill {
        node: usize,
        back_after: Duration,
    },
    Terminate {
        node: usize,
        back_after: Duration,
    },
    Pause {
        node: usize,
        lasts: Duration,
    },
    Cut {
        node: usize,
        lasts: Duration,
    },
    Slow {
        node: usize,
        delays: Vec<Duration>,
        lasts: Duration,
    },
    LoseAnswers {
        node: usize,
        count: usize,
    },
    Down {
        lasts: Duration,
    },
    LoseAll,
    LoseTheLastSecond,
    Cancel {
        stream: usize,
        node: usize,
    },
    Remove {
        stream: usize,
        node: usize,
    },
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// As long as a hiccup, around the time of a claim, or far beyond.
fn some_time(rng: &mut Rng) -> Duration {
    match rng.below(4) {
        0 => ms(rng.between(1, 300)),
        1 => ms(rng.between(300, 3000)),
        2 => ms(rng.between(3000, 10_500)),
        _ => ms(rng.between(8000, 25_000)),
    }
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let streams: Vec<_> = (0..rng.between(1, 2)).map(|_| stream(rng)).collect();
        let clients = (0..rng.between(1, 4)).map(|_| client(rng, streams.len()));
        let clients = clients.collect();
        // Some break little, so that what is due in peace is seen, too.
        let count = rng.weighted(&[(2, 0), (4, 1), (5, 3), (3, 7)]);
        let mut faults: Vec<_> = (0..count).map(|_| fault(rng, &streams)).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            streams,
            clients,
            faults,
        }
    }
}

fn stream(rng: &mut Rng) -> StreamPlan {
    let count = rng.weighted(&[(1, 0), (4, 8), (8, 40)]);
    let pace = rng.pick(&[0, 30, 200, 800]);
    let mut at = Duration::ZERO;
    let blocks = (0..count).map(|_| {
        at += match rng.below(20) {
            0 => ms(rng.between(0, 6000)),
            _ => ms(rng.between(0, pace)),
        };
        at
    });
    let mut blocks: Vec<_> = blocks.collect();
    // The server is done when all is repaired.
    blocks.retain(|at| *at < CALM - ms(12_000));
    StreamPlan {
        node: rng.below(NODES as u64) as usize,
        begins: ms(rng.between(0, 8000)),
        blocks,
        is_resumable: rng.chance(50),
    }
}

fn client(rng: &mut Rng, streams: usize) -> ClientPlan {
    let visits = (0..rng.between(1, 5)).map(|_| Visit {
        after: ms(rng.between(0, 4000)),
        node: rng.below(NODES as u64) as usize,
        stays: if rng.chance(50) { some_time(rng) } else { CALM },
    });
    ClientPlan {
        visits: visits.collect(),
        stream: rng.below(streams as u64) as usize,
    }
}

/// Most break while a stream runs, and where.
fn fault(rng: &mut Rng, streams: &[StreamPlan]) -> (Duration, Fault) {
    let stream = rng.below(streams.len() as u64) as usize;
    let meant = &streams[stream];
    let runs = meant.blocks.last().map_or(0, Duration::as_millis) as u64;
    let at = match rng.chance(80) {
        true => meant.begins + ms(rng.between(0, runs + 200)),
        false => ms(rng.between(0, 30_000)),
    };
    let node = match rng.chance(60) {
        true => meant.node,
        false => rng.below(NODES as u64) as usize,
    };
    let lasts = some_time(rng);
    let fault = match rng.below(24) {
        0..=3 => Fault::Kill {
            node,
            back_after: lasts,
        },
        4..=5 => Fault::Terminate {
            node,
            back_after: lasts,
        },
        6..=9 => Fault::Pause { node, lasts },
        10..=12 => Fault::Cut { node, lasts },
        13..=14 => Fault::Slow {
            node,
            delays: (0..rng.between(1, 4))
                .map(|_| match rng.below(3) {
                    0 => Duration::ZERO,
                    1 => ms(rng.between(1, 200)),
                    _ => ms(rng.between(200, 12_000)),
                })
                .collect(),
            lasts,
        },
        15..=16 => Fault::LoseAnswers {
            node,
            count: rng.between(1, 3) as usize,
        },
        17 => Fault::Down { lasts },
        18 => Fault::LoseAll,
        19 => Fault::LoseTheLastSecond,
        20..=22 => Fault::Cancel { stream, node },
        _ => Fault::Remove { stream, node },
    };
    (at, fault)
}

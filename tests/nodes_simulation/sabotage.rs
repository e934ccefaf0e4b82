//! Ways to break it, each of which a check must see.

use crate::{check::check, plan::Plan, world::run};

/// What is spoilt in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The store does not look at the claim of who appends.
    AnyoneWrites,
    /// The store does not look at how many blocks are expected.
    RepeatsAreTaken,
    /// A block is acknowledged and not kept.
    ABlockIsLost,
    /// An end is acknowledged and not kept.
    EndsAreForgotten,
    /// Who lost its claim is not told.
    LossIsNotTold,
    /// A claim is taken from who still has it.
    ClaimsAreTakenBeforeTheirTime,
    /// Two readers of a process claim under one name.
    ReadersShareAName,
    /// Nobody looks whether a claim is over.
    NobodyTakesOver,
    /// A reader that comes back gets again what it got last.
    ReadersBeginEarly,
    /// A cancel is said to be done.
    CancelsGetLost,
    /// What somebody removes looks as if the store lost it.
    RemovedIsLost,
    /// A node goes on for its readers after it lost the claim.
    TheLostGoOn,
    /// A node does not wait for the store before it tells of an end.
    EndsAreToldAtOnce,
    /// Who goes on with a stream sends all of it again.
    TakeOversBeginAnew,
}

/// Each, and the promise that it breaks.
const SPOILT: &[(Sabotage, &str)] = &[
    (Sabotage::AnyoneWrites, "blocks of two writers do not mix"),
    (
        Sabotage::RepeatsAreTaken,
        "the log has each block once and in order",
    ),
    (
        Sabotage::ABlockIsLost,
        "the log has each block once and in order",
    ),
    (Sabotage::EndsAreForgotten, "what was acknowledged is there"),
    (Sabotage::LossIsNotTold, "who lost a claim stops"),
    (
        Sabotage::ClaimsAreTakenBeforeTheirTime,
        "nobody takes a stream from a node that is well",
    ),
    (Sabotage::ReadersShareAName, "a claim has one writer"),
    (
        Sabotage::NobodyTakesOver,
        "who reads when all is well has an end in time",
    ),
    (
        Sabotage::ReadersBeginEarly,
        "a reader gets each block once and in order",
    ),
    (Sabotage::CancelsGetLost, "a cancel reaches the writer"),
    (Sabotage::RemovedIsLost, "what was removed stays away"),
    (
        Sabotage::TheLostGoOn,
        "all readers get the end that is stored",
    ),
    (
        Sabotage::EndsAreToldAtOnce,
        "all readers get the end that is stored",
    ),
    (
        Sabotage::TakeOversBeginAnew,
        "the log has each block once and in order",
    ),
];

/// Within so many seeds.
const SEEDS: u64 = 600;

fn found_by(sabotage: Sabotage, promise: &str) -> Option<u64> {
    (0..SEEDS).find(|seed| {
        let plan = Plan::new(*seed);
        let record = run(&plan, Some(sabotage), false);
        let broken = check(&plan, &record).broken;
        broken.iter().any(|(name, _)| *name == promise)
    })
}

#[test]
fn each_promise_that_is_broken_is_seen() {
    let mut unseen = Vec::new();
    for (sabotage, promise) in SPOILT {
        let seed = found_by(*sabotage, promise);
        println!("{sabotage:?}: {seed:?}");
        unseen.extend(seed.is_none().then_some((sabotage, promise)));
    }
    assert!(unseen.is_empty(), "{unseen:?}");
}

//! The recorder, what these tests ask of it, and a subscriber that panics.

use actix::{Actor, Context, Handler};
use actix_responses::{
    actors::{Delivery, Subscriber},
    testing::Recorder,
};

/// What a recorder has seen.
pub(crate) trait Seen {
    /// How many final events came.
    fn ends(&self) -> usize;

    /// Whether the sequence numbers run from `first` without gap or repeat.
    fn is_consecutive_from(&self, first: u64) -> bool;
}

impl Seen for Recorder {
    fn ends(&self) -> usize {
        self.events()
            .iter()
            .filter(|event| event.is_final())
            .count()
    }

    fn is_consecutive_from(&self, first: u64) -> bool {
        self.sequenced()
            .iter()
            .zip(first..)
            .all(|((sequence, _), expected)| *sequence == expected)
    }
}

/// A subscriber that panics when it has seen so many events.
pub(crate) fn panicking_at(count: usize) -> Subscriber {
    Subscriber::deliveries(Fragile { left: count }.start().recipient())
}

struct Fragile {
    left: usize,
}

impl Actor for Fragile {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Fragile {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        self.left = self.left.saturating_sub(delivery.events().len());
        assert!(self.left > 0, "a scripted panic");
    }
}

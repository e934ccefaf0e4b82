//! The scripted transport, and what only this crate's own tests make happen.

pub(crate) use actix_responses::testing::{Exchange, ScriptedTransport};

/// What goes wrong on this side of a connection.
pub(crate) trait Misfortune {
    /// The code that reads the body panics.
    fn panicking(self) -> Self;

    /// The arbiter that reads the body stops.
    fn stopping_the_arbiter(self) -> Self;
}

impl Misfortune for Exchange {
    fn panicking(self) -> Self {
        self.then(|| panic!("a scripted panic"))
    }

    fn stopping_the_arbiter(self) -> Self {
        self.then(|| {
            actix_rt::Arbiter::current().stop();
        })
        .held_open()
    }
}

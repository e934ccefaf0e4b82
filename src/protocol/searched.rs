//! What it costs to find what events are about.

/// How much has been looked through.
///
/// Mostly an event is about the item that began last. A server that begins thousands, and names another in each event, has
/// each event cost thousands of steps: that is not gone on with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Searched {
    events: usize,
    steps: usize,
}

impl Searched {
    /// Of all events together, and of each on average. The one is for the ends of items, which are compared with all.
    const MOST_STEPS: usize = 1 << 26;
    const STEPS_OF_EVENT: usize = 256;

    pub(crate) fn add(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps);
    }

    #[cfg(test)]
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Counts an event. Whether what it is about may be searched for.
    pub(crate) fn on_event(&mut self) -> bool {
        self.events += 1;
        let most = Self::MOST_STEPS + Self::STEPS_OF_EVENT.saturating_mul(self.events);
        self.steps <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_steps_for_each_event_are_never_too_much_and_thousands_are() {
        let go_on = |steps| {
            let mut searched = Searched::default();
            (0..100_000).all(|_| {
                searched.add(steps);
                searched.on_event()
            })
        };
        assert!(go_on(Searched::STEPS_OF_EVENT));
        assert!(!go_on(4_096));
    }
}

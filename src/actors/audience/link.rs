//! The way to a subscriber, and a delivery that waits for room.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix::{Recipient, dev::SendError};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::Instant,
};

use super::delivery::Delivery;
use crate::protocol::ResponseEvent;

/// The way to a subscriber.
#[derive(Clone)]
pub(crate) enum Link {
    Deliveries(Recipient<Delivery>),
    Events(Recipient<ResponseEvent>),
    /// A [`ResponseStream`](crate::ResponseStream): a bounded queue, and a way round it for an end that overtakes.
    Channel {
        queue: mpsc::Sender<Delivery>,
        urgent: mpsc::UnboundedSender<Delivery>,
    },
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deliveries(_) => "Deliveries",
            Self::Events(_) => "Events",
            Self::Channel { .. } => "Channel",
        })
    }
}

/// What became of a delivery.
pub(crate) enum Sent {
    /// It is in the mailbox.
    Done,
    /// The mailbox is full; a task waits with it.
    Blocked(Box<Blocked>),
    /// Nobody is there any more.
    Gone,
}

impl Link {
    /// Whether somebody is there.
    pub(crate) fn is_connected(&self) -> bool {
        match self {
            Self::Deliveries(recipient) => recipient.connected(),
            Self::Events(recipient) => recipient.connected(),
            Self::Channel { queue, .. } => !queue.is_closed(),
        }
    }

    /// Delivers now if there is room, otherwise as soon as there is. What is large and can wait does so until all before it has been
    /// taken, so that mailboxes do not fill with such.
    pub(crate) fn deliver(&self, delivery: Delivery, can_wait: bool, now: Instant) -> Sent {
        if can_wait && delivery.is_large() && !delivery.is_final() && self.is_connected() {
            return self.wait_with(delivery, now);
        }
        match self {
            Self::Deliveries(recipient) => match recipient.try_send(delivery) {
                Ok(()) => Sent::Done,
                // An end does not wait for room: nothing follows it that could. Then it can't be on its way when the wait for
                // it ends, and be followed by another.
                Err(SendError::Full(delivery)) if delivery.is_final() => {
                    self.deliver_end(delivery);
                    Sent::Done
                }
                Err(SendError::Full(delivery)) => self.wait_with(delivery, now),
                Err(SendError::Closed(_)) => Sent::Gone,
            },
            Self::Events(recipient) => {
                for (index, event) in delivery.events().iter().enumerate() {
                    match recipient.try_send(event.clone()) {
                        Ok(()) => {}
                        Err(SendError::Full(_)) => {
                            return self.wait_with(delivery.clone().without_first(index), now);
                        }
                        Err(SendError::Closed(_)) => return Sent::Gone,
                    }
                }
                Sent::Done
            }
            Self::Channel { queue, .. } => match queue.try_send(delivery) {
                Ok(()) => Sent::Done,
                Err(mpsc::error::TrySendError::Full(delivery)) => self.wait_with(delivery, now),
                Err(mpsc::error::TrySendError::Closed(_)) => Sent::Gone,
            },
        }
    }

    /// Delivers an end that does not wait for room. It comes once for each subscription.
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each subscription, and it must arrive"
    )]
    pub(crate) fn deliver_end(&self, delivery: Delivery) {
        match self {
            Self::Deliveries(recipient) => recipient.do_send(delivery),
            Self::Events(recipient) => {
                for event in delivery.events() {
                    recipient.do_send(event.clone());
                }
            }
            Self::Channel { urgent, .. } => {
                // An error means that the stream was dropped: then nobody wants the end.
                let _ = urgent.send(delivery);
            }
        }
    }

    /// Leaves the delivery with a task of its own. It survives the actor that owns the audience, so no message is lost or
    /// sent twice when the audience changes hands.
    fn wait_with(&self, delivery: Delivery, now: Instant) -> Sent {
        let (report, done) = oneshot::channel();
        let link = self.clone();
        let is_final = delivery.is_final();
        let task = actix_rt::spawn(async move {
            link.deliver_with_patience(delivery, report).await;
        });
        Sent::Blocked(Box::new(Blocked {
            done,
            task: task.abort_handle(),
            is_final,
            since: now,
        }))
    }

    async fn deliver_with_patience(&self, delivery: Delivery, report: oneshot::Sender<Arrival>) {
        let arrived = match self {
            Self::Deliveries(recipient) => recipient.send(delivery).await.is_ok(),
            Self::Events(recipient) => {
                for event in delivery.events() {
                    if event.is_final() {
                        // The report goes first: it fails when the delivery was withdrawn, and then another end was sent.
                        if report.send(Arrival::Arrived).is_ok() {
                            let end = delivery.events().len() - 1;
                            self.deliver_end(delivery.without_first(end));
                        }
                        return;
                    }
                    if recipient.send(event.clone()).await.is_err() {
                        // The receiver is gone when the subscription is.
                        let _ = report.send(Arrival::Gone);
                        return;
                    }
                }
                true
            }
            // A stream takes one end, whichever comes first.
            Self::Channel { queue, .. } => {
                let room = match delivery.is_large() {
                    true => queue.max_capacity(),
                    false => 1,
                };
                let room = queue.reserve_many(room).await;
                room.is_ok_and(|mut room| room.next().map(|room| room.send(delivery)).is_some())
            }
        };
        let _ = report.send(match arrived {
            true => Arrival::Arrived,
            false => Arrival::Gone,
        });
    }
}

/// What became of a delivery that waited for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is in the mailbox.
    Arrived,
    /// Nobody is there any more.
    Gone,
    /// The thread that waited with it has ended.
    Lost,
}

/// A delivery that waits for room. Dropping it withdraws the delivery, unless its handler has run already.
pub(crate) struct Blocked {
    done: oneshot::Receiver<Arrival>,
    task: AbortHandle,
    is_final: bool,
    pub(crate) since: Instant,
}

impl Blocked {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let done = ready!(Future::poll(Pin::new(&mut self.done), cx));
        Poll::Ready(done.unwrap_or(Arrival::Lost))
    }

    /// Takes the delivery back. False when its end is in the mailbox already, so that no other may follow.
    pub(crate) fn withdraw(mut self) -> bool {
        self.done.close();
        !(self.is_final && self.done.try_recv() == Ok(Arrival::Arrived))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

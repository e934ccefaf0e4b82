//! Subscribers that never read, with each policy.

use std::{cell::RefCell, io::Write, net::SocketAddr, rc::Rc, time::Duration};

use actix::prelude::*;
use actix_responses::{
    ErrorKind, Runtime,
    actors::{DeliveryPolicy, SubmitRequest, Subscriber, SupervisorConfig},
    protocol::ResponseEvent,
    provider::Provider,
};
use tokio::sync::Notify;

use crate::support::{
    COMPLETED, DELTA, HEAD, accept_request, chunk, end_of, prompt, serve, url, whole_answer,
    within, write_until_refused,
};

const MAX_WAIT: Duration = Duration::from_millis(300);
/// What the sockets of both sides, their buffers in the process, and the log may hold. The server offers without end.
const MAX_TAKEN: usize = 32 << 20;

/// Takes its first event and is busy with it from then on; an end that goes past the queue is seen all the same, since the
/// actor is woken for it at last.
struct Busy {
    signals: Rc<Signals>,
    seen: Seen,
    is_busy: bool,
}

#[derive(Default)]
struct Signals {
    /// From the actor: it has taken its first event.
    begun: Notify,
    /// To the actor: it may go on.
    release: Notify,
    /// From the actor: it has seen an end.
    ended: Notify,
}

type Seen = Rc<RefCell<Vec<ResponseEvent>>>;

impl Busy {
    fn subscriber(policy: DeliveryPolicy) -> (Subscriber, Rc<Signals>, Seen) {
        let (signals, seen): (Rc<Signals>, Seen) = Default::default();
        let busy = Self {
            signals: Rc::clone(&signals),
            seen: Rc::clone(&seen),
            is_busy: false,
        };
        let subscriber = Subscriber::events(busy.start().recipient()).with_policy(policy);
        (subscriber, signals, seen)
    }
}

impl Actor for Busy {
    type Context = Context<Self>;
}

impl Handler<ResponseEvent> for Busy {
    type Result = ();

    fn handle(&mut self, event: ResponseEvent, ctx: &mut Context<Self>) {
        if event.is_final() {
            self.signals.ended.notify_one();
        }
        self.seen.borrow_mut().push(event);
        if !self.is_busy {
            self.is_busy = true;
            self.signals.begun.notify_one();
            let signals = Rc::clone(&self.signals);
            ctx.wait(async move { signals.release.notified().await }.into_actor(self));
        }
    }
}

/// A server whose first connection gets text without end, and whose second gets a whole answer, meanwhile.
fn endless() -> (SocketAddr, tokio::sync::oneshot::Receiver<usize>) {
    serve(|listener| {
        let mut first = accept_request(&listener);
        first.write_all(HEAD.as_bytes()).expect("a reader");
        let other = std::thread::spawn(move || {
            let mut second = accept_request(&listener);
            second
                .write_all(whole_answer().as_bytes())
                .expect("a reader");
        });
        let taken = write_until_refused(&mut first, &chunk(&DELTA.repeat(50)));
        other.join().expect("a second connection");
        taken
    })
}

fn start(address: SocketAddr) -> Runtime {
    let provider = Provider::new("test", &url(address)).expect("a URL");
    let mut config = SupervisorConfig::new(provider);
    config.retry.max_attempts = 1;
    config.audience.lag_events = 64;
    config.audience.log_events = 256;
    Runtime::with_config(config).expect("a configuration")
}

#[actix_rt::test]
async fn subscriber_that_never_reads_ends_as_its_policy_says_and_others_go_on() {
    for policy in [
        DeliveryPolicy::Wait { max_wait: MAX_WAIT },
        DeliveryPolicy::Disconnect,
    ] {
        let (address, taken) = endless();
        let runtime = start(address);
        let (busy, signals, seen) = Busy::subscriber(policy);
        let request = SubmitRequest::new(prompt()).with_subscriber(busy);
        let submitted = within(runtime.supervisor().send(request)).await;
        submitted.expect("a supervisor").expect("a request");
        within(signals.begun.notified()).await;

        // The runtime ends it, although the subscriber does not move: nobody else listens, so the connection is closed.
        let taken_while_unread = async {
            let other = end_of(&runtime, prompt()).await;
            assert!(
                matches!(other, Ok(ResponseEvent::Completed(_))),
                "{other:?}"
            );
            taken.await.expect("a script")
        };
        let taken = within(Box::pin(taken_while_unread)).await;
        assert!(taken < MAX_TAKEN, "{policy:?}: {taken} bytes were taken");

        signals.release.notify_one();
        within(signals.ended.notified()).await;
        let seen = seen.borrow();
        let ends: Vec<_> = seen.iter().filter(|event| event.is_final()).collect();
        match ends[..] {
            [ResponseEvent::Failed(error)] => {
                assert_eq!(error.kind(), ErrorKind::Lagged, "{policy:?}: {error}");
            }
            _ => panic!("{policy:?}: {ends:?}"),
        }
    }
}

#[actix_rt::test]
async fn subscriber_that_drops_deltas_never_holds_up_the_stream_and_gets_the_end() {
    const DELTAS: usize = 100_000;
    let (address, _) = serve(|listener| {
        let mut connection = accept_request(&listener);
        let many = chunk(&DELTA.repeat(DELTAS / 100));
        connection.write_all(HEAD.as_bytes()).expect("a reader");
        for _ in 0..100 {
            // Whoever waited for the subscriber would not take all of this.
            connection.write_all(many.as_bytes()).expect("a reader");
        }
        let end = format!("{}0\r\n\r\n", chunk(COMPLETED));
        connection.write_all(end.as_bytes()).expect("a reader");
    });
    let runtime = start(address);
    let (busy, signals, seen) = Busy::subscriber(DeliveryPolicy::DropDeltas);
    let request = SubmitRequest::new(prompt()).with_subscriber(busy);
    // Another subscriber of the same request reads all of it.
    let stream = within(runtime.submit(request)).await.expect("a request");
    let events: Vec<_> = within(futures_util::StreamExt::collect(stream)).await;
    let deltas = events
        .iter()
        .filter(|event| matches!(event, Ok(ResponseEvent::OutputTextDelta(_))));
    assert_eq!(deltas.count(), DELTAS);
    assert!(matches!(
        events.last(),
        Some(Ok(ResponseEvent::Completed(_)))
    ));

    signals.release.notify_one();
    within(signals.ended.notified()).await;
    let seen = seen.borrow();
    // What had been read along with the event that found the mailbox full waits for room: at most 64 chunks of the body.
    assert!(seen.len() < DELTAS / 2, "{} were kept for it", seen.len());
    let ends = seen.iter().filter(|event| event.is_final()).count();
    assert_eq!(ends, 1);
    assert!(matches!(seen.last(), Some(ResponseEvent::Completed(_))));
}

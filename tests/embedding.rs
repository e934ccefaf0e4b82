//! The runtime in programs that are none of actix: where it may be started, and what becomes of its threads.

use std::{
    cell::{Cell, RefCell},
    panic,
    rc::Rc,
    sync::mpsc,
    time::Duration,
};

use actix_responses::{
    ApiError, ErrorKind, ResponseStream, Runtime,
    actors::{SupervisorConfig, Workers},
    loopback::{Loopback, LoopbackOptions},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    transport::{Transport, TransportError, TransportErrorKind, TransportFactory},
};
use futures_util::{StreamExt, future};

fn provider(loopback: &Loopback) -> Provider {
    Provider::new("loopback", &loopback.base_url()).expect("a URL")
}

fn loopback() -> Loopback {
    Loopback::start(LoopbackOptions::default()).expect("a provider")
}

async fn answer(runtime: &Runtime, text: &str) -> Result<String, ApiError> {
    let mut stream = runtime
        .stream(Prompt::user(text).with_model("demo"))
        .await?;
    let mut answer = String::new();
    while let Some(event) = stream.next().await {
        if let ResponseEvent::OutputTextDelta(delta) = event? {
            answer.push_str(&delta.delta);
        }
    }
    Ok(answer)
}

fn multi_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// How many panics this thread has seen since this was first asked.
fn panics() -> usize {
    thread_local!(static PANICS: Cell<Option<usize>> = const { Cell::new(None) });
    if PANICS.get().is_none() {
        PANICS.set(Some(0));
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get().map(|count| count + 1));
            print(info);
        }));
    }
    PANICS.get().unwrap_or_default()
}

#[test]
fn handles_and_streams_go_from_thread_to_thread() {
    fn check<T: Send + Unpin + 'static>() {}
    check::<Runtime>();
    check::<ResponseStream>();
}

#[test]
fn without_a_system_the_error_names_the_way_out() {
    let loopback = loopback();
    panics();
    let check = |started: Result<Runtime, ApiError>| {
        let error = started.expect_err("no system");
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(error.message().contains("Runtime::spawn"), "{error}");
    };
    check(Runtime::start(provider(&loopback)));
    multi_thread().block_on(async { check(Runtime::start(provider(&loopback))) });
    let plain = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&plain, async { check(Runtime::start(provider(&loopback))) });
    // One that has ended is none.
    drop(actix::System::new());
    check(Runtime::start(provider(&loopback)));
    assert_eq!(panics(), 0);
}

#[test]
fn a_system_that_does_not_run_yet_is_one() {
    let loopback = loopback();
    let system = actix::System::new();
    let runtime = Runtime::start(provider(&loopback)).expect("a system");
    let answer = system.block_on(answer(&runtime, "early"));
    assert!(answer.unwrap().contains("early"));
}

#[test]
fn a_runtime_of_its_own_serves_tasks_on_any_thread() {
    let loopback = loopback();
    multi_thread().block_on(async {
        for workers in [Workers::Current, Workers::Threads(2)] {
            let mut config = SupervisorConfig::new(provider(&loopback));
            config.workers = workers;
            let runtime = Runtime::spawn(config).unwrap();
            let asking = (0..20).map(|number| {
                let runtime = runtime.clone();
                tokio::spawn(async move {
                    let text = format!("question {number}");
                    let answer = answer(&runtime, &text).await.unwrap();
                    assert!(answer.contains(&text), "{answer}");
                })
            });
            for asked in future::join_all(asking).await {
                asked.unwrap();
            }
            // Whoever asks twice, and at once, is answered.
            let grace = Duration::from_secs(5);
            tokio::join!(runtime.shutdown(grace), runtime.shutdown(grace));
            let error = answer(&runtime, "late").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ShutDown);
        }
    });
}

/// Says so when the thread ends that made it.
struct OnThread(mpsc::Sender<()>);

impl Drop for OnThread {
    fn drop(&mut self) {
        // An error means that the test has ended.
        let _ = self.0.send(());
    }
}

/// A transport for no request, on a thread that is watched.
struct Watched(mpsc::Sender<()>);

impl TransportFactory for Watched {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        thread_local!(static WATCH: RefCell<Option<OnThread>> = const { RefCell::new(None) });
        WATCH.with_borrow_mut(|watch| *watch = Some(OnThread(self.0.clone())));
        let kind = TransportErrorKind::InvalidRequest;
        Err(TransportError::new(kind, "a transport for no request"))
    }
}

#[test]
fn its_thread_ends_with_it() {
    for is_shut_down in [true, false] {
        let (ended, ends) = mpsc::channel();
        multi_thread().block_on(async {
            let mut config =
                SupervisorConfig::new(Provider::new("test", "http://host/v1").unwrap());
            config.workers = Workers::Current;
            let runtime = Runtime::spawn_with_transport(config, Watched(ended)).unwrap();
            let error = answer(&runtime, "hello").await.unwrap_err();
            assert!(error.message().contains("for no request"), "{error}");
            if is_shut_down {
                runtime.shutdown(Duration::ZERO).await;
                assert_eq!(ends.try_recv(), Ok(()), "it was not waited for");
            } else {
                drop(runtime);
                ends.recv().expect("the end of the thread");
            }
        });
    }
}

#[test]
fn a_stream_goes_on_without_the_handle() {
    let loopback = loopback();
    multi_thread().block_on(async {
        let runtime = Runtime::spawn(SupervisorConfig::new(provider(&loopback))).unwrap();
        let prompt = Prompt::user("still here").with_model("demo");
        let stream = runtime.stream(prompt).await.unwrap();
        drop(runtime);
        let last = stream.collect::<Vec<_>>().await.pop();
        assert!(
            matches!(last, Some(Ok(ResponseEvent::Completed(_)))),
            "{last:?}"
        );
    });
}

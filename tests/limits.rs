//! A process that may have few open files. Alone in its binary, because the limit holds for all of the process.
#![cfg(unix)]

use std::time::Duration;

use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{SupervisorConfig, Workers},
    loopback::LoopbackOptions,
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
};
use futures_util::{StreamExt, future};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::support::ServerProcess;

#[path = "support/mod.rs"]
mod support;

fn limit_open_files(limit: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(limit);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("a lower limit");
}

async fn end_of(runtime: &Runtime) -> Result<(), ApiError> {
    let prompt = Prompt::user("hello there").with_model("demo");
    let mut stream = runtime.stream(prompt).await?;
    while let Some(event) = stream.next().await {
        if let ResponseEvent::Completed(_) = event? {
            return Ok(());
        }
    }
    panic!("no end");
}

#[actix_rt::test]
async fn streams_of_a_process_with_few_files_end_well_or_name_the_limit() {
    let mut options = LoopbackOptions::default();
    options.pace = Duration::from_millis(10);
    // The provider needs files of its own.
    let name = "streams_of_a_process_with_few_files_end_well_or_name_the_limit";
    let server = ServerProcess::start(name, options);
    let url = server.base_url.clone();
    let started = |workers, total| {
        let mut provider = Provider::new("loopback", &url).unwrap();
        provider.timeouts.total = total;
        // They wait for each other, on a busy machine for longer than a host may take.
        provider.timeouts.connect = Duration::from_secs(120);
        let mut config = SupervisorConfig::new(provider);
        config.workers = workers;
        config.retry.max_attempts = 1;
        Runtime::with_config(config).unwrap()
    };

    // Not one more file, and so no thread that could wait for sockets.
    limit_open_files(3);
    let runtime = started(Workers::Threads(2), Some(Duration::from_secs(1)));
    let error = end_of(&runtime).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LocalLimit, "{error}");
    let message = error.to_string();
    assert!(
        message.contains("too many open files (limit 3)"),
        "{message}"
    );
    let config = SupervisorConfig::new(Provider::new("loopback", &url).unwrap());
    let error = Runtime::spawn(config).expect_err("no files");
    assert_eq!(error.kind(), ErrorKind::LocalLimit, "{error}");
    limit_open_files(64);
    end_of(&runtime).await.expect("there are files again");
    runtime.shutdown(Duration::ZERO).await;

    for workers in [Workers::Current, Workers::Threads(2)] {
        let runtime = started(workers, None);
        let ends = future::join_all((0..200).map(|_| end_of(&runtime))).await;
        let whole = ends.iter().filter(|end| end.is_ok()).count();
        let first = ends.into_iter().find_map(Result::err);
        assert_eq!(whole, 200, "{workers:?}: {first:?}");
        runtime.shutdown(Duration::ZERO).await;
    }
}

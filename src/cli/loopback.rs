//! `loopback`: the embedded provider alone, for other clients and for trying out faults.

use std::{
    io::{self, Write as _},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use actix_responses::{
    duration::{parse_duration, parse_limit},
    loopback::{AfterReplies, Loopback, LoopbackOptions, Reply, ReplyBody, Script},
};
use clap::Args;
use http::StatusCode;

use super::{
    exit_status::ExitStatus, interrupts::Interrupts, logging, secrets::Secrets, system,
    usage_error::UsageError,
};

/// The most replies that the flags may make: they are held in memory.
const MAX_TIMES: i64 = 100_000;

/// Serve the embedded provider on 127.0.0.1 until Ctrl-C
///
/// One line on stdout says the base URL. It speaks the Responses, Chat Completions and Compact APIs, wants no key and calls no
/// model. The flags for faults change every answer, or the first ones with --times; a script says more.
#[derive(Args)]
pub(super) struct Serve {
    /// The port; 0 is any free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,

    /// The time between two events of a stream, such as 25ms, or forever
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    pace: Duration,

    /// The most connections at a time; for a further one an idle one is closed, and without any it is answered with 503
    #[arg(long, value_name = "N", default_value_t = LoopbackOptions::default().max_connections)]
    max_connections: usize,

    /// How long the head of a request may take, and how long its body may stand still, before it is refused; none is no limit
    #[arg(long, value_name = "TIME", value_parser = parse_limit, default_value = "30s")]
    request_timeout: Duration,

    /// A JSON file that says what to do with each request in turn
    #[arg(long, value_name = "FILE", conflicts_with = "Faults")]
    script: Option<PathBuf>,

    /// Call a function that is offered also where tool_choice leaves it open, not only when it is asked for
    #[arg(long)]
    tool_calls: bool,

    /// Answer with ids and times that are the same in each run
    #[arg(long)]
    reproducible: bool,

    /// Do not log requests to stderr
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    faults: Faults,
}

#[derive(Args)]
#[group(id = "Faults", multiple = true)]
#[command(next_help_heading = "Faults")]
struct Faults {
    /// Answer with this status; from 400 up with an error that fits
    #[arg(long, value_name = "CODE", value_parser = parse_status)]
    status: Option<StatusCode>,

    /// Send a header, such as 'retry-after: 2'; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Answer with the event stream in this file
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,

    /// Send the body in pieces of this many bytes instead of event by event
    #[arg(long, value_name = "BYTES")]
    chunk: Option<NonZeroUsize>,

    /// Send the whole body but do not end it, and keep the connection open
    #[arg(long)]
    hold_open: bool,

    /// Close the connection after this many bytes of the body
    #[arg(long, value_name = "N")]
    cut_after_bytes: Option<usize>,

    /// Close the connection after this many events
    #[arg(long, value_name = "N")]
    cut_after_events: Option<usize>,

    /// Reset the connection after this many events
    #[arg(long, value_name = "N")]
    reset_after_events: Option<usize>,

    /// Fall silent after this many events, with the connection open
    #[arg(long, value_name = "N")]
    stall_after_events: Option<usize>,

    /// Wait before the head of the answer
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    delay_head: Option<Duration>,

    /// Only for the first N requests; those behind get the default answer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_TIMES))]
    times: Option<u32>,
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    text.parse()
        .map_err(|_| "a status has three digits, such as 429".to_owned())
}

impl Faults {
    fn script(&self) -> Result<Script, UsageError> {
        let reply = self.reply()?;
        Ok(match self.times {
            Some(times) => Script::new(vec![reply; times as usize]),
            None => Script {
                replies: vec![reply],
                after: AfterReplies::RepeatLast,
            },
        })
    }

    fn reply(&self) -> Result<Reply, UsageError> {
        let mut reply = match &self.recording {
            Some(path) => Reply::new(ReplyBody::SseFile(path.clone())),
            None => Reply::default(),
        };
        reply.status = self.status;
        for header in &self.headers {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                UsageError::new(format!(
                    "--header {header:?} has no colon: write it as 'Name: value'"
                ))
            })?;
            reply = reply.with_header(name.trim(), value.trim());
        }
        if let Some(bytes) = self.chunk {
            reply = reply.with_chunk_bytes(bytes.get());
        }
        if let Some(delay) = self.delay_head {
            reply = reply.delay_head(delay);
        }
        if let Some(events) = self.stall_after_events {
            reply = reply.stall_after_events(events);
        }
        if let Some(bytes) = self.cut_after_bytes {
            reply = reply.cut_after_bytes(bytes);
        }
        if let Some(events) = self.cut_after_events {
            reply = reply.cut_after_events(events);
        }
        if let Some(events) = self.reset_after_events {
            reply = reply.reset_after_events(events);
        }
        if self.hold_open {
            reply = reply.hold_open();
        }
        Ok(reply)
    }
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let script = match &self.script {
            Some(path) => {
                Script::from_file(path).map_err(|error| UsageError::at("--script", &error))?
            }
            None => self.faults.script()?,
        };
        let mut options = LoopbackOptions::default();
        options.port = self.port;
        options.script = script;
        options.pace = self.pace;
        options.max_connections = self.max_connections;
        options.request_timeout = self.request_timeout;
        options.tool_calls = self.tool_calls;
        options.reproducible = self.reproducible;
        if !self.quiet {
            logging::start(1, Secrets::default())?;
        }
        system::start()?.block_on(serve(options))
    }
}

async fn serve(options: LoopbackOptions) -> Result<ExitStatus, UsageError> {
    let mut interrupts =
        Interrupts::new().map_err(|error| UsageError::at("can't start", &error))?;
    let loopback =
        Loopback::start(options).map_err(|error| UsageError::at("can't start", &error))?;
    let mut stdout = io::stdout();
    // Who does not want to know the URL knows the port.
    let _ = writeln!(stdout, "{}", loopback.base_url()).and_then(|()| stdout.flush());
    interrupts.next().await;
    loopback.stop();
    Ok(ExitStatus::Interrupted)
}

//! `loopback`: the embedded provider alone, for other clients and for trying out faults.

use std::{
    io::{self, ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use actix_responses::{
    duration::{parse_duration, parse_limit},
    loopback::{AfterReplies, Loopback, LoopbackError, LoopbackOptions, Reply, ReplyBody, Script},
};
use clap::Args;
use http::StatusCode;

use super::{
    exit_status::ExitStatus, interrupts::Interrupts, logging, secrets::Secrets, system,
    usage_error::UsageError,
};

/// The most replies that the flags may make: they are held in memory.
const MAX_TIMES: i64 = 100_000;

/// What a script file says; the names are those of the library's `loopback::Reply`.
const SCRIPT_FORMAT: &str = r#"Scripts:
  A script is JSON. A request takes the first reply that is meant for it and has not been taken; every field may be left out:

  {
    "replies": [
      {"status": 429, "headers": {"retry-after": "1"}},
      {"pace": "10ms", "faults": [{"at": {"events": 5}, "do": "reset"}]},
      {"path": "/models", "body": {"json": {"data": []}}}
    ],
    "after": "default"
  }

  path     requests whose path has this in it, of any method; without it, each POST that asks for an answer
  status   200, or what the default answer has; from 400 up with an error that fits
  headers  an object; a value may be an array. What would be sent by itself is left out where it is named here
  body     "default", "empty", {"json": ...}, {"text": "..."}, {"sse": "..."}, {"sse_file": "FILE"} (beside the script), or
           {"events": [{"event": "...", "id": "...", "data": ...}]}
  chunks   "event", "whole" or {"bytes": N}
  framing  "length", "chunked" or "until_close"
  pace     the time between two pieces, such as "10ms"
  faults   each {"at": ..., "do": ...}
    at     "start", {"head_bytes": N}, {"body_bytes": N}, {"events": N}, "body_end" or "answer_end"
    do     "cut", "end", "reset", "hang", {"stall": "2s"}, {"send": "..."} or {"comments": {"every": "1s", "lasting": "10s"}}
  after    what comes when all have been taken: "default", "repeat_last" or "cycle""#;

/// Serve the embedded provider on this machine's loopback until Ctrl-C
///
/// One line on stdout says the base URL. It speaks the Responses, Chat Completions and Compact APIs, wants no key and calls no
/// model. Answers of the Responses API can be read again, also in the background and behind `starting_after`, as long as they are
/// among the last 256. The flags for faults change every answer, or the first ones with --times; a script says more.
#[derive(Args)]
#[command(after_long_help = SCRIPT_FORMAT)]
pub(super) struct Serve {
    /// The port on 127.0.0.1; 0 is any free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,

    /// The address to listen on, of this machine's loopback: 127.0.0.1:N, [::1]:N, or localhost:N for both
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_listen, conflicts_with = "port")]
    listen: Option<Listen>,

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

    /// End the stream after this many events as if it were whole, with no event that ends the answer
    #[arg(long, value_name = "N")]
    end_after_events: Option<usize>,

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

/// Addresses, and the port on each.
type Listen = (Vec<IpAddr>, u16);

fn parse_listen(text: &str) -> Result<Listen, String> {
    let wrong = || format!("{text:?} is none of 127.0.0.1:PORT, [::1]:PORT and localhost:PORT");
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    if let Some(port) = text.strip_prefix("localhost:") {
        let mut addresses = vec![v4];
        // A machine may have no IPv6.
        if TcpListener::bind(SocketAddr::new(v6, 0)).is_ok() {
            addresses.push(v6);
        }
        let port = port.parse().map_err(|_| wrong())?;
        return Ok((addresses, port));
    }
    let address: SocketAddr = text.parse().map_err(|_| wrong())?;
    if !address.ip().is_loopback() {
        return Err(wrong());
    }
    Ok((vec![address.ip()], address.port()))
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
        type FailAfter = fn(Reply, usize) -> Reply;
        let counted: [(_, FailAfter); 5] = [
            (self.stall_after_events, Reply::stall_after_events),
            (self.cut_after_bytes, Reply::cut_after_bytes),
            (self.cut_after_events, Reply::cut_after_events),
            (self.end_after_events, Reply::end_after_events),
            (self.reset_after_events, Reply::reset_after_events),
        ];
        for (count, fail_after) in counted {
            if let Some(count) = count {
                reply = fail_after(reply, count);
            }
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
        if let Some(listen) = self.listen {
            (options.addresses, options.port) = listen;
        }
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
    let mut interrupts = Interrupts::new().map_err(UsageError::at_start)?;
    let loopback = Loopback::start(options).map_err(|error| match error {
        LoopbackError::Listen { address, source } if source.kind() == ErrorKind::AddrInUse => {
            UsageError::new(format!(
                "can't start: another program listens on {address}: stop it, or give --port or --listen another one (0 is any free one)"
            ))
        }
        error => UsageError::at_start(error),
    })?;
    let mut stdout = io::stdout();
    // Who does not want to know the URL knows the port.
    let _ = writeln!(stdout, "{}", loopback.base_url()).and_then(|()| stdout.flush());
    interrupts.next().await;
    loopback.stop();
    Ok(ExitStatus::Interrupted)
}

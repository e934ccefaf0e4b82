//! `ask`: one question, its answer as it comes.

use std::{io, time::Duration};

use actix::Actor as _;
use actix_responses::{
    Runtime,
    actors::{DeliveryPolicy, RequestId, SubmitRequest, Subscriber},
    protocol::ResponseEvent,
    provider::StreamTransport,
    retry::{RetryAfterOutput, RetryPolicy},
};
use clap::{ArgAction, Args, ValueEnum};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    console::{self, Console},
    exit_status::ExitStatus,
    interrupts::Interrupts,
    kept_answer::KeptAnswer,
    logging,
    printer::{Printer, Shown, View},
    prompt_options::PromptOptions,
    provider_options::{ProviderOptions, Upstream},
    status_line::StatusLine,
    system,
    terminals::Terminals,
    text_view::TextView,
    usage_error::UsageError,
};

/// How long who reads stdout may take for one piece: a pager may be left open for days.
const MAX_READER_PAUSE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a cancelled request may take to say so, for stdout may take nothing any more.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Ask a model, and show its answer as it comes
///
/// The text of the answer goes to stdout, tool calls and what went wrong to stderr; where that is a terminal, it also shows reasoning
/// and what is being waited for. With neither a key nor a base URL the embedded provider answers: nothing is sent anywhere.
///
/// A stdout that is closed early, as `head` does, cancels the request and is no failure.
#[derive(Args)]
pub(super) struct Ask {
    #[command(flatten)]
    prompt: PromptOptions,

    /// Go on with the answer of an earlier --background, by its id, in place of asking
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = PromptOptions::ids(),
        help_heading = "Conversation"
    )]
    resume: Option<String>,

    /// Go on behind the event with this sequence_number; without it the answer comes from its beginning
    #[arg(long, value_name = "N", help_heading = "Conversation")]
    after: Option<u64>,

    /// Print every event as a JSON line; the last is `completed`, `incomplete`, `failed` or `cancelled`
    #[arg(long)]
    json: bool,

    /// Log to stderr what happens; twice for more. RUST_LOG chooses what
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// What to do when an attempt fails in the middle of the answer
    #[arg(long, value_enum, default_value_t, help_heading = "Retries")]
    retry_after_output: AfterOutput,

    /// How the request is sent to the Responses API [default: what --providers-file says, else sse]
    #[arg(long, value_enum, help_heading = "Provider")]
    transport: Option<TransportName>,

    #[command(flatten)]
    provider: ProviderOptions,
}

/// How a request for a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TransportName {
    /// As a POST that is answered by server-sent events
    Sse,
    /// As a message on a WebSocket
    #[value(name = "websocket")]
    WebSocket,
    /// On a WebSocket, and by sse where the server has none
    Auto,
}

impl From<TransportName> for StreamTransport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Sse => Self::Sse,
            TransportName::WebSocket => Self::WebSocket,
            TransportName::Auto => Self::Auto,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum AfterOutput {
    /// Fail, and say that a part had been delivered
    #[default]
    Fail,
    /// Say so, and begin the answer anew
    Restart,
}

impl From<AfterOutput> for RetryAfterOutput {
    fn from(name: AfterOutput) -> Self {
        match name {
            AfterOutput::Fail => Self::Fail,
            AfterOutput::Restart => Self::Restart,
        }
    }
}

impl Ask {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let mut upstream = self.provider.upstream()?;
        let transport = self.transport.map(StreamTransport::from);
        let of_provider = &mut upstream.provider.stream_transport;
        *of_provider = transport.unwrap_or(*of_provider);
        logging::start(self.verbose, upstream.secrets.clone())?;
        if self.after.is_some() && self.resume.is_none() {
            return Err(UsageError::new(
                "--after says where --resume goes on, which is missing",
            ));
        }
        let request = match &self.resume {
            Some(id) => SubmitRequest::resume(&**id, self.after),
            None => SubmitRequest::new(self.prompt.prompt(&upstream)?),
        };
        if upstream.is_embedded() && (self.prompt.background || self.resume.is_some()) {
            return Err(UsageError::new(
                "the embedded provider ends with this command, and its answers with it: start `actix-responses loopback`, and give the URL \
                 that it prints as --base-url",
            ));
        }
        upstream.announce();
        system::start()?.block_on(self.answer(request, &upstream))
    }

    async fn answer(
        &self,
        request: SubmitRequest,
        upstream: &Upstream,
    ) -> Result<ExitStatus, UsageError> {
        let mut interrupts = Interrupts::new().map_err(UsageError::at_start)?;
        let console = Console::start().map_err(UsageError::at_start)?;
        let retry = RetryPolicy::default().with_after_output(self.retry_after_output.into());
        let runtime = upstream.runtime(retry)?;
        let (shown, mut is_shown) = oneshot::channel();
        let terminals = Terminals::of_this_process();
        let view = self.view(terminals, upstream);
        let status = self.status_line(terminals);
        let printer = Printer::new(view, console, status, terminals, shown);
        let is_kept = self.prompt.background || self.resume.is_some();
        let kept = is_kept.then(|| KeptAnswer::new(self.resume.as_deref(), self.after));
        let printer = printer.keeping(kept).start();
        let policy = DeliveryPolicy::Wait {
            max_wait: MAX_READER_PAUSE,
        };
        let subscriber = Subscriber::deliveries(printer.clone().recipient()).with_policy(policy);
        let mut request = request
            .with_subscriber(subscriber)
            .with_observer(printer.recipient());
        if is_kept {
            request = request.with_blocks();
        }
        let submitted = runtime
            .supervisor()
            .send(request)
            .await
            .map_err(UsageError::at_start)??;
        tokio::select! {
            shown = &mut is_shown => Ok(ended(shown, &runtime, submitted.request).await),
            _ = interrupts.next() => {
                runtime.cancel(submitted.request).await;
                let shown = tokio::select! {
                    shown = timeout(CANCEL_GRACE, is_shown) => shown,
                    _ = interrupts.next() => return Ok(ExitStatus::Interrupted),
                };
                Ok(match shown {
                    // What ended by itself in the same moment, has.
                    Ok(Ok(Shown::End(end))) => exit_status(&end),
                    _ => ExitStatus::Interrupted,
                })
            }
        }
    }

    fn view(&self, terminals: Terminals, upstream: &Upstream) -> View {
        let hint = upstream.hint(upstream.provider.wire.path());
        match self.json {
            true => View::Json(upstream.secrets.clone()),
            false => {
                let view = TextView::new(terminals, upstream.secrets.clone(), hint);
                View::Text(Box::new(view.partial(self.after.is_some())))
            }
        }
    }

    /// Logs and JSON on the same terminal would run into a status line.
    fn status_line(&self, terminals: Terminals) -> Option<StatusLine> {
        let is_alone = self.verbose == 0 && !(self.json && terminals.stdout);
        let can_be = is_alone && terminals.stderr && terminals.can_erase;
        can_be.then(|| StatusLine::new(Instant::now(), terminals))
    }
}

/// Ends the request if it still runs, and says how the command ends.
async fn ended(
    shown: Result<Shown, oneshot::error::RecvError>,
    runtime: &Runtime,
    request: RequestId,
) -> ExitStatus {
    let error = match shown {
        Ok(Shown::End(end)) => return exit_status(&end),
        Ok(Shown::Stdout(error)) => error,
        Err(_) => io::Error::other("the printer ended"),
    };
    runtime.cancel(request).await;
    console::unwritten(&error)
}

fn exit_status(end: &ResponseEvent) -> ExitStatus {
    match end {
        ResponseEvent::Completed(_) => ExitStatus::Success,
        // Nobody cancels but an interrupt.
        ResponseEvent::Cancelled => ExitStatus::Interrupted,
        _ => ExitStatus::Failure,
    }
}

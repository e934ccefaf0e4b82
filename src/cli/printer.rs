//! `Printer`: the actor that shows one request's events as they come.
//!
//! Started by `ask`. Receives [`Delivery`] and [`RequestNotice`] from the request, and wakes itself while a status line is
//! shown. Tells `ask` when the end is written, or when stdout takes no more. Ends with the command.
//!
//! It takes its next message when the last one's output is written, so that who reads slowly slows the stream down.

use std::{io, time::Duration};

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, WrapFuture as _};
use actix_responses::{
    actors::{Delivery, RequestNotice},
    protocol::ResponseEvent,
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    console::{self, Console, Page, Target},
    json_lines,
    kept_answer::KeptAnswer,
    secrets::Secrets,
    status_line::StatusLine,
    terminals::{self, Terminals},
    text_view::TextView,
};

/// How often a status line is drawn anew. A word is held back for its end for so long, and twice that at most.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// How the showing ended.
pub(super) enum Shown {
    /// The request's end is written.
    End(ResponseEvent),
    /// Stdout takes no more; the request may still run.
    Stdout(io::Error),
}

/// In which form events are shown.
pub(super) enum View {
    Text(Box<TextView>),
    Json(Secrets),
}

pub(super) struct Printer {
    view: View,
    console: Console,
    status: Option<StatusLine>,
    terminals: Terminals,
    /// The answer, if it can be taken up later.
    kept: Option<KeptAnswer>,
    /// Something was written to stdout.
    has_begun: bool,
    /// Events came since the last tick.
    is_busy: bool,
    shown: Option<oneshot::Sender<Shown>>,
}

impl Printer {
    /// Without a status line nothing is shown but the view.
    pub(super) fn new(
        view: View,
        console: Console,
        status: Option<StatusLine>,
        terminals: Terminals,
        shown: oneshot::Sender<Shown>,
    ) -> Self {
        Self {
            view,
            console,
            status,
            terminals,
            kept: None,
            has_begun: false,
            is_busy: false,
            shown: Some(shown),
        }
    }

    /// Tells how the answer can be taken up: its id as soon as it is known, and where it was left when it is interrupted. It needs the
    /// blocks of deliveries.
    pub(super) fn keeping(mut self, kept: Option<KeptAnswer>) -> Self {
        self.kept = kept;
        self
    }

    fn render(&mut self, delivery: &Delivery) -> Page {
        let mut page = Page::default();
        let events = delivery.events();
        let said = self.kept.as_mut().and_then(|it| it.on_delivery(delivery));
        if let Some(said) = said {
            page.push(Target::Stderr, console::complaint(&said));
        }
        match &mut self.view {
            View::Text(text) => {
                if self.terminals.stdout || self.terminals.stderr {
                    text.set_columns(terminals::columns());
                }
                for event in events {
                    text.render(event, &mut page);
                }
            }
            View::Json(secrets) => {
                let mut lines = Vec::new();
                for event in events {
                    json_lines::append_line(event, secrets, &mut lines);
                }
                page.push(Target::Stdout, lines);
            }
        }
        if let (Some(ResponseEvent::Cancelled), Some(kept)) = (events.last(), &self.kept)
            && let Some(said) = kept.left()
        {
            page.push(Target::Stderr, console::complaint(&said));
        }
        page
    }

    /// The status line around what is to be written: off before it, and on again behind it.
    fn with_status(&mut self, mut page: Page, is_final: bool) -> Page {
        self.has_begun |= page.has(Target::Stdout);
        let Some(status) = &mut self.status else {
            return page;
        };
        if !page.is_empty() || is_final {
            let mut erased = Page::default();
            erased.push(Target::Stderr, status.erase());
            page.prepend(erased);
        }
        let has_room = match &self.view {
            View::Text(text) => text.has_room_for_status(),
            View::Json(_) => true,
        };
        // Who reads stdout, such as `cat`, may write to the same terminal, at any time.
        let is_ours = self.terminals.stdout || !self.has_begun;
        if is_ours && has_room && !is_final && !status.is_drawn() {
            page.push(Target::Stderr, status.draw(Instant::now()));
        }
        page
    }

    fn write(&mut self, page: Page, end: Option<ResponseEvent>, ctx: &mut Context<Self>) {
        if self.shown.is_none() {
            return;
        }
        let written = self.console.write(page).into_actor(self);
        ctx.wait(written.map(|written, printer, _| {
            let gone = || Err(io::Error::other("the console's thread ended"));
            match (written.unwrap_or_else(|_| gone()), end) {
                (Err(error), _) => printer.tell(Shown::Stdout(error)),
                (Ok(()), Some(end)) => printer.tell(Shown::End(end)),
                (Ok(()), None) => {}
            }
        }));
    }

    fn tell(&mut self, what: Shown) {
        if let Some(shown) = self.shown.take() {
            // Nobody listens when the command was interrupted twice.
            let _ = shown.send(what);
        }
    }

    /// Draws the status line anew, where there is one, and shows what is held back while nothing comes.
    fn on_tick(&mut self, ctx: &mut Context<Self>) {
        let is_silent = !std::mem::take(&mut self.is_busy);
        let mut page = Page::default();
        if let Some(status) = &mut self.status {
            page.push(Target::Stderr, status.erase());
        }
        if let View::Text(text) = &mut self.view
            && is_silent
        {
            text.flush(&mut page);
        }
        let page = self.with_status(page, false);
        if !page.is_empty() {
            self.write(page, None, ctx);
        }
    }
}

impl Actor for Printer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.status.is_some() || self.terminals.stdout || self.terminals.stderr {
            ctx.run_interval(STATUS_INTERVAL, Self::on_tick);
        }
    }
}

impl Handler<RequestNotice> for Printer {
    type Result = ();

    fn handle(&mut self, notice: RequestNotice, ctx: &mut Self::Context) {
        if let Some(status) = &mut self.status {
            status.on_notice(&notice, Instant::now());
            self.on_tick(ctx);
        }
    }
}

impl Handler<Delivery> for Printer {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, ctx: &mut Self::Context) {
        self.is_busy = true;
        if let Some(status) = &mut self.status {
            status.on_events();
        }
        let end = delivery.events().last().filter(|event| event.is_final());
        let page = self.render(&delivery);
        let page = self.with_status(page, end.is_some());
        self.write(page, end.cloned(), ctx);
    }
}

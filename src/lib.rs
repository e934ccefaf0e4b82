//! An actor-based streaming runtime for the OpenAI Responses, Chat Completions and Compact APIs.
//!
//! A program asks [`Runtime`] for an answer and reads a [`ResponseStream`], or subscribes its own actors to the
//! [`StreamSupervisor`](actors::StreamSupervisor). Every accepted request gives every subscriber exactly one final event.
//!
//! The [`guide`] says how to use it; the modules, in reading order:
//!
//! - [`protocol`]: what is on the wire. [`Prompt`](protocol::Prompt) and its items go out,
//!   [`ResponseEvent`](protocol::ResponseEvent)s come in.
//! - [`sse`]: bytes to server-sent events, as the WHATWG algorithm has it but for the end of the stream. Synchronous and bounded; an event of
//!   one data line that lies whole in a chunk is not copied.
//! - [`wire`]: the two dialects, request body out and events in. [`StreamDecoder`](wire::StreamDecoder) works alone, without any
//!   runtime.
//! - [`secret`]: keys, and keeping them out of logs and errors.
//! - [`retry`]: whether and when a failed attempt is repeated. Decisions only.
//! - [`transport`]: how bytes move: the [`Transport`](transport::Transport) seam, and its implementation over awc.
//! - [`provider`]: what an endpoint is: [`Provider`](provider::Provider), [`AuthProvider`](provider::AuthProvider),
//!   [`Timeouts`](provider::Timeouts).
//! - [`actors`]: who owns state, and the messages that programs send and receive.
//! - [`relay`]: the service in front of many clients and many servers.
//! - [`loopback`]: the embedded provider, which answers without a key and misbehaves on demand.
//! - [`testing`]: for the tests of programs: answers without a socket, a recorder, paused time.
//!
//! Without features there are [`protocol`], [`sse`] and [`wire`]. The feature `loopback` brings the module of that name, `test-util`
//! [`testing`], `runtime` all others, `metrics`, `redis`, `toml` and `zstd` what their names say; `cli` is the command. The guide is there with
//! [`loopback`] and [`testing`].
//!
//! [`ApiError`] is every way in which a request can end badly; [`ErrorKind`] is what to match on.
//!
//! Types of other crates that stand in signatures here are exported with their crates, so that a program need not find the version
//! that fits: [`bytes`], [`http`] and [`serde_json`], and with the runtime `actix`, `actix_rt`, `futures_core`, `futures_util`,
//! `rustls` and `url`.

// What only the runtime asks of the plain layers is compiled and tested without it all the same; builds with it find what nobody uses.
#![cfg_attr(not(feature = "runtime"), allow(dead_code, unused_imports))]

#[macro_use]
mod options;

#[cfg(feature = "runtime")]
pub mod actors;
#[cfg(any(feature = "runtime", feature = "loopback"))]
#[doc(hidden)] // for the command, which is a crate of its own
pub mod duration;
#[cfg(any(feature = "runtime", feature = "loopback"))]
#[doc(hidden)] // for the command, which is a crate of its own
pub mod files;
#[cfg(all(fuzzing, feature = "runtime"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(all(feature = "loopback", feature = "test-util"))]
pub mod guide;
mod json;
#[cfg(feature = "loopback")]
pub mod loopback;
pub mod protocol;
#[cfg(feature = "runtime")]
pub mod provider;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "runtime")]
pub mod retry;
#[cfg(feature = "runtime")]
mod runtime;
#[cfg(feature = "runtime")]
pub mod secret;
pub mod sse;
#[cfg(feature = "runtime")]
pub mod store;
#[cfg(feature = "runtime")]
pub mod telemetry;
#[cfg(feature = "test-util")]
pub mod testing;
#[cfg(feature = "runtime")]
pub mod transport;
pub mod wire;

pub use protocol::error::{ApiError, AttemptFailure, Details as ErrorDetails, ErrorKind, Phase};
#[cfg(feature = "runtime")]
pub use runtime::{ResponseStream, Runtime};

// The crates whose types stand in what is public here, and those that start its actors and read its streams: for a program
// that would else have other versions of them, and with those an actix and a tokio that do not see the ones here.
#[cfg(feature = "relay")]
#[doc(no_inline)]
pub use actix_web;
#[cfg(feature = "runtime")]
#[doc(no_inline)]
pub use {actix, actix_rt, futures_core, futures_util, rustls, tracing, url};
#[doc(no_inline)]
pub use {bytes, http, serde_json};

/// The examples of the README.
#[cfg(all(doctest, feature = "runtime", feature = "loopback"))]
#[doc = include_str!("../README.md")]
struct Readme;

//! `relay`: what the relay costs beside nginx's `proxy_pass`, and what it adds to asking the server itself.
//!
//! The server, the relay and nginx are processes of their own, with real sockets between them; this program is the client of all.
//! Criterion measures one benchmark after the other. Here rounds of the peers alternate, so that both have the same neighbours on a
//! shared machine, and a ratio is that of two rounds that followed each other.

mod client;
#[path = "../support/clock.rs"]
#[expect(dead_code, reason = "what is measured here is the CPU time of others")]
mod clock;
mod litellm;
mod measures;
mod nginx;
mod process;
#[path = "../support/records.rs"]
mod records;
mod redis;
mod relay;
#[path = "../support/target.rs"]
mod target;
mod upstream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::LocalSet;

/// Open files of the process with the most: two for each stream.
const FILES: u64 = 8_192;

fn main() {
    if upstream::serve_if_asked() || relay::serve_if_asked() {
        return;
    }
    let [relay, redis, litellm] = ["relay", "redis", "litellm"].map(records::is_wanted);
    if !relay && !redis && !litellm {
        return;
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    // The other processes are children, and inherit it.
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("a limit within bounds");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async {
        if relay {
            measures::run(records::is_trial()).await;
        }
        if redis {
            measures::redis(records::is_trial()).await;
        }
        if litellm && !records::is_trial() {
            measures::litellm().await;
        }
    });
}

//! The timed groups: `decode`, `deliver`, `body`, `end_to_end`, `lifecycle`, `first_event` and `completion`; and `instructions`, which
//! valgrind counts.
//!
//! That nothing is measured which the optimiser has left out, and nobody wins by doing less, is seen to before and during
//! the runs: each decoder must read the same text out of each input ([`Decoder::check`]), and each answer's deltas are
//! counted and compared with the input's.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod clients;
mod cpu;
mod decode;
mod deliver;
mod end_to_end;
mod instructions;
mod latency;
mod lifecycle;
mod scripted;

use std::{rc::Rc, time::Duration};

use criterion::{Criterion, measurement::Measurement};

use self::{
    cpu::CpuTime,
    support::{
        decoders::Decoder,
        inputs::Input,
        server::{Server, serve_if_asked},
        target,
    },
};

fn main() {
    if serve_if_asked() || instructions::work_if_asked() {
        return;
    }
    for input in [
        Input::resp_text(),
        Input::resp_reason_fn(),
        Input::chat(),
        Input::small(),
    ] {
        Decoder::ALL
            .iter()
            .for_each(|decoder| decoder.check(&input));
    }
    let mut cpu = configured(Criterion::default().with_measurement(CpuTime));
    decode::run(&mut cpu);
    deliver::run(&mut cpu);
    bodies::run(&mut cpu);
    let server = Rc::new(Server::start());
    end_to_end::run(&mut cpu, &server);
    let mut wall = configured(Criterion::default());
    lifecycle::run(&mut wall, &server);
    latency::run(&mut wall, &server);
    wall.final_summary();
    instructions::run();
}

/// Short runs: the peers of a comparison should follow each other before a shared machine changes its mind.
fn configured<M: Measurement>(criterion: Criterion<M>) -> Criterion<M> {
    criterion
        .output_directory(&target::target_folder().join("criterion"))
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(20)
        .configure_from_args()
}

//! `body`: prompts into the bodies of requests, beside the same items with serde_json; and bodies that somebody else wrote, beside a
//! copy of them. Measured is CPU time.

use std::hint::black_box;

use actix_responses::{
    protocol::Prompt,
    wire::{Quirks, Wire},
};
use bytes::Bytes;
use criterion::Criterion;

use crate::{
    cpu::CpuTime,
    support::{
        bodies::{BODIES, prompt},
        records::is_trial,
    },
};

/// Who makes what.
pub const WAYS: [&str; 6] = ["ours", "chat", "to_vec", "from_body", "as_it_came", "copy"];

pub fn run(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("body");
    for name in BODIES {
        // Half a minute where nothing is measured and the compiler did not optimise; what is made of it is what a small one is.
        if name == "picture" && is_trial() {
            continue;
        }
        for way in WAYS {
            let work = Work::new(way, name);
            group.bench_function(format!("{way}/{name}"), |bencher| {
                bencher.iter(|| work.once())
            });
        }
    }
    group.finish();
}

/// One way, with what it starts from.
pub struct Work {
    way: &'static str,
    prompt: Prompt,
    body: Bytes,
    received: Prompt,
}

impl Work {
    pub fn new(way: &str, name: &str) -> Self {
        let prompt = prompt(name);
        let body = Wire::Responses
            .request_body(&prompt, &Quirks::default())
            .expect("a body");
        Self {
            way: WAYS.into_iter().find(|known| *known == way).expect("a way"),
            received: Prompt::from_body(body.clone()).expect("a body"),
            prompt,
            body,
        }
    }

    pub fn once(&self) {
        let body = |wire: Wire, prompt: &Prompt| {
            black_box(
                wire.request_body(prompt, &Quirks::default())
                    .expect("a body"),
            );
        };
        match self.way {
            "ours" => body(Wire::Responses, &self.prompt),
            "chat" => body(Wire::Chat, &self.prompt),
            "as_it_came" => body(Wire::Responses, &self.received),
            "to_vec" => {
                black_box(serde_json::to_vec(&self.prompt.input).expect("the items"));
            }
            "from_body" => {
                black_box(Prompt::from_body(self.body.clone()).expect("a body"));
            }
            _ => {
                black_box(self.body.to_vec());
            }
        }
    }
}

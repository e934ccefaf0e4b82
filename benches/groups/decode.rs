//! `decode`: bytes to events, on one thread, without I/O. Measured is CPU time.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use crate::{
    cpu::CpuTime,
    support::{
        decoders::{Decoder, Tally},
        inputs::{Delivery, Input},
        records::is_trial,
    },
};

pub fn run(criterion: &mut Criterion<CpuTime>) {
    use Decoder::{AsyncOpenai, LineScan, Ours, SseCoreSerde, Upstream};

    let alone = [Ours, Upstream, AsyncOpenai, SseCoreSerde, LineScan];
    let text = Input::resp_text();
    for delivery in [Delivery::Event, Delivery::PACKETS] {
        measure(criterion, &text, delivery, &Decoder::ALL);
    }
    for delivery in [Delivery::READS, Delivery::Whole] {
        measure(criterion, &text, delivery, &alone);
    }
    measure(
        criterion,
        &text,
        Delivery::BYTES,
        &[Ours, Upstream, SseCoreSerde, LineScan],
    );
    for input in [Input::resp_reason_fn(), Input::chat()] {
        for delivery in [Delivery::Event, Delivery::PACKETS] {
            measure(criterion, &input, delivery, &alone);
        }
    }
}

fn measure(
    criterion: &mut Criterion<CpuTime>,
    input: &Input,
    delivery: Delivery,
    decoders: &[Decoder],
) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(input.events.len() as u64));
    let chunks = input.chunks(delivery);
    for &decoder in decoders {
        // eventsource-stream copies what is left of its buffer for each event, so large or tiny chunks take it seconds.
        let is_slow = decoder == Decoder::Upstream && delivery == Delivery::BYTES;
        // A minute of a test that shows nothing of ours, where nothing is measured and the compiler did not optimise.
        if is_slow && is_trial() {
            continue;
        }
        group.sample_size(if is_slow { 10 } else { 20 });
        group.warm_up_time(Duration::from_millis(if is_slow { 1 } else { 300 }));
        let id = BenchmarkId::new(
            decoder.name(),
            format!("{}/{}", input.name, delivery.name()),
        );
        group.bench_function(id, |bencher| {
            bencher.iter(|| decoder.decode::<Tally>(input.wire, &chunks));
        });
    }
    group.finish();
}

//! What an attempt begins with, and leaves to the next, of a response that is gone on with.

use std::{mem, sync::Arc};

use super::spec::{Attempt, KeptResponse, RequestSpec};
use crate::{
    actors::audience::{Audience, resumption::Resumption},
    provider::Provider,
    wire::{Quirks, StreamDecoder, Wire},
};

/// The decoder of an attempt, and the attempt that the answer begins with which it reads.
pub(super) fn decoder_for(attempt: &Attempt, audience: &mut Audience) -> (StreamDecoder, u32) {
    match audience.resumption.take() {
        Some(resumption) => {
            let Resumption {
                mut decoder,
                began_with,
                ..
            } = *resumption;
            decoder.resume(attempt.spec.stream.limits.sse);
            (decoder, began_with)
        }
        None => (fresh(&attempt.spec), attempt.number),
    }
}

fn fresh(spec: &RequestSpec) -> StreamDecoder {
    let kept = spec.kept.get();
    let Provider { wire, quirks, .. } = &*spec.provider;
    decoder_of(spec, *wire, quirks, kept.map(|kept| &**kept))
}

/// One that has read nothing.
pub(super) fn decoder_of(
    spec: &RequestSpec,
    wire: Wire,
    quirks: &Quirks,
    kept: Option<&KeptResponse>,
) -> StreamDecoder {
    let mut decoder = StreamDecoder::new(wire, spec.stream.limits).with_quirks(quirks);
    if let Some(kept) = kept {
        decoder.set_resumable();
        if let Some(from) = &kept.from {
            decoder.begin_after(from.response_id.clone(), from.after);
        }
    }
    decoder
}

/// Leaves to the next attempt how far this one has read, if that can go on from there. All that was read is published.
pub(super) fn leave(
    decoder: &mut StreamDecoder,
    began_with: u32,
    spec: &RequestSpec,
    audience: &mut Audience,
) {
    let point = decoder.resume_point();
    if let Some(url) = point.and_then(|point| spec.resume_url(&point)) {
        let resumption = Resumption {
            decoder: mem::replace(decoder, fresh(spec)),
            url: Arc::new(url),
            began_with,
        };
        audience.resumption = Some(Box::new(resumption));
    }
}

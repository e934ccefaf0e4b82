//! Deltas of one text that become one event.

use std::mem;

use crate::protocol::{ResponseEvent, Text};

/// The text of an event that is a piece of one.
pub(super) fn delta_of(event: &mut ResponseEvent) -> Option<&mut Text> {
    match event {
        ResponseEvent::OutputTextDelta(piece) | ResponseEvent::RefusalDelta(piece) => {
            Some(&mut piece.delta)
        }
        ResponseEvent::ReasoningSummaryDelta(piece)
        | ResponseEvent::ReasoningContentDelta(piece) => Some(&mut piece.delta),
        ResponseEvent::ToolCallInputDelta(piece) => Some(&mut piece.delta),
        _ => None,
    }
}

/// Makes room for the texts of so many more events in that of the last one, each as long as what is there.
pub(super) fn expect_more(out: &mut [ResponseEvent], count: usize) {
    if let Some(text) = out.last_mut().and_then(delta_of) {
        text.reserve(text.len().saturating_mul(count));
    }
}

/// Lets the event before the last take its text, if they differ in nothing else. Whether it did.
pub(super) fn join_last(out: &mut Vec<ResponseEvent>) -> bool {
    let [.., before, last] = &mut out[..] else {
        return false;
    };
    let take = |event| delta_of(event).map(mem::take);
    let (text, more) = (take(before), take(last));
    let is_same = more.is_some() && before == last;
    for (event, text) in [(before, text), (last, more)] {
        if let (Some(delta), Some(text)) = (delta_of(event), text) {
            *delta = text;
        }
    }
    if is_same
        && let Some(mut last) = out.pop()
        && let (Some(more), Some(delta)) = (delta_of(&mut last), out.last_mut().and_then(delta_of))
    {
        delta.push_str(more);
    }
    is_same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TextDelta;

    fn said(text: &str, index: u32) -> ResponseEvent {
        let mut delta = TextDelta::new(text);
        delta.output_index = Some(index);
        ResponseEvent::OutputTextDelta(delta)
    }

    #[test]
    fn only_pieces_of_one_text_become_one() {
        let refused = ResponseEvent::RefusalDelta(TextDelta::new("b"));
        for other in [said("b", 1), refused, ResponseEvent::Cancelled] {
            let mut out = vec![said("a", 0), other.clone()];
            assert!(!join_last(&mut out));
            assert_eq!(out, [said("a", 0), other]);
        }
        let mut out = vec![ResponseEvent::Cancelled, ResponseEvent::Cancelled];
        assert!(!join_last(&mut out) && out.len() == 2);
        let mut out = vec![said("a", 0), said("b", 0)];
        assert!(join_last(&mut out) && !join_last(&mut out));
        assert_eq!(out, [said("ab", 0)]);
    }
}

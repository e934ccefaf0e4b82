use proptest::{collection, option, prelude::*};

use super::*;
use crate::protocol::StreamAnomalies;

/// A call as far as it is looked for.
fn call(place: Place, id: Option<&str>) -> ToolCall {
    let mut call = ToolCall::new(&Piece {
        place,
        id: "",
        name: "",
        input: "",
        is_object: false,
        kind: ToolCallInput::FunctionArguments,
    });
    call.id = id.map(Id::from);
    call
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (0_u32..4).prop_map(Place::Index),
        (0_usize..4).prop_map(Place::Position),
    ]
}

fn id() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["a", "b", "c"])
}

proptest! {
    #[test]
    fn what_is_found_of_many_calls_is_what_is_found_of_few(
        begun in collection::vec((place(), option::of(id())), 0..20),
        named_late in collection::vec((any::<proptest::sample::Index>(), id()), 0..5),
        piece in (place(), option::of(id()), any::<bool>()),
    ) {
        let mut few = ToolCalls::default();
        let mut index = CallIndex::default();
        for (place, id) in begun {
            let call = call(place, id);
            index.note(few.calls.len(), place, call.id.as_ref());
            few.calls.push(call);
        }
        for (at, id) in &named_late {
            if few.calls.is_empty() {
                break;
            }
            let at = at.index(few.calls.len());
            let call = &mut few.calls[at];
            if call.id.is_none() {
                call.id = Some(Id::from(*id));
                index.note(at, call.place, call.id.as_ref());
            }
        }
        let (place, id, is_named) = piece;
        let piece = Piece {
            place,
            id: id.unwrap_or_default(),
            name: if is_named { "f" } else { "" },
            input: "",
            is_object: false,
            kind: ToolCallInput::FunctionArguments,
        };
        let found = few.position(&piece);
        few.index = Some(Box::new(index));
        prop_assert_eq!(few.position(&piece), found);
    }

    #[test]
    fn what_is_said_is_the_input_without_white_space_around_it(
        pieces in collection::vec("[ \n\u{a0}]{0,3}[{a\u{e9}]{0,2}[ \t\u{2003}]{0,3}", 0..8),
    ) {
        let mut call = call(Place::Index(0), None);
        for piece in &pieces {
            call.push(piece, false);
            prop_assert_eq!(call.said(), call.input.text.trim());
        }
    }
}

#[test]
fn many_calls_are_looked_up_and_few_are_not() {
    let mut calls = ToolCalls::default();
    let (mut numbers, mut anomalies) = (OutputNumbers::default(), StreamAnomalies::default());
    for at in 0..=FEW {
        assert!(calls.index.is_none(), "{at}");
        let piece = Piece {
            place: Place::Index(at.try_into().unwrap()),
            id: "",
            name: "f",
            input: "{",
            is_object: false,
            kind: ToolCallInput::FunctionArguments,
        };
        let mut to = Output {
            numbers: &mut numbers,
            out: &mut Vec::new(),
            anomalies: &mut anomalies,
        };
        calls.add_piece(&piece, &mut to);
    }
    assert!(calls.index.is_some());
}

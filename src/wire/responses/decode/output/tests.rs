use super::*;
use crate::wire::responses::known_text::NO_TEXT;

fn item(index: u32) -> OutputItem {
    let json = format!(
        r#"{{"type":"message","id":"m{index}","content":[{{"type":"output_text","text":"a"}}]}}"#
    );
    OutputItem::new(Some(index), RawJson::parse(&json).unwrap())
}

#[test]
fn what_costs_too_much_to_find_is_delivered_as_it_comes_and_once() {
    for is_too_much in [false, true] {
        let mut output = Output::new(StreamLimits::default());
        let mut out = Vec::new();
        assert!(output.added(&item(0)));
        output.done(item(1), &NO_TEXT, true, &mut out);
        if is_too_much {
            output.searched.add(usize::MAX);
        }
        let key = Key::new(Some(2), Some("m2"), None);
        let part = output.part(key, DeltaKind::OutputText, Some(0), None);
        assert_eq!(part.is_none(), is_too_much);
        assert_eq!(output.items.is_empty(), is_too_much);
        output.done(item(0), &NO_TEXT, true, &mut out);
        output.close(Some("[]"), &NO_TEXT, true, None, &mut out);
        let whole = format!("[{},{}]", item(0).raw(), item(1).raw());
        output.close(Some(&whole), &NO_TEXT, true, None, &mut out);
        let is_done = |event: &&ResponseEvent| matches!(event, ResponseEvent::OutputItemDone(_));
        assert_eq!(out.iter().filter(is_done).count(), 2, "{out:?}");
    }
}

#[test]
fn events_about_the_newest_of_many_items_cost_a_step() {
    let mut output = Output::new(StreamLimits::default());
    for index in 0..1_000 {
        output.added(&item(index));
        let id = format!("m{index}");
        for key in [
            Key::new(Some(index), Some(&id), None),
            Key::new(Some(index), None, None),
            Key::new(None, Some(&id), None),
        ] {
            // Its part is there, or is looked for among all once.
            output.part(key, DeltaKind::OutputText, Some(0), None);
            let before = output.searched.steps();
            output.part(key, DeltaKind::OutputText, Some(0), None);
            assert_eq!(output.searched.steps() - before, 2, "{index}");
        }
    }
}

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use tracing::{Event, Metadata, Subscriber, span};

use super::*;

type Rows = BTreeSet<(String, String)>;

/// The attributes that spans have, each with the last word of the span's name.
#[derive(Clone, Default)]
struct Declared(Arc<Mutex<Rows>>);

impl Subscriber for Declared {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let metadata = attributes.metadata();
        let (_, span) = metadata.name().rsplit_once('.').unwrap();
        let names = metadata.fields().iter().map(|field| field.name());
        let rows = names.map(|name| (name.to_owned(), span.to_owned()));
        self.0.lock().unwrap().extend(rows);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// What the table above says.
fn documented() -> Rows {
    let lines = include_str!("../telemetry.rs").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("//! | `"));
    let rows = rows.flat_map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let spans = match cells[2] {
            "both" => vec!["request", "attempt"],
            one => vec![one],
        };
        let name = cells[0].trim_end_matches('`').to_owned();
        spans
            .into_iter()
            .map(move |span| (name.clone(), span.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_table_has_every_attribute_and_no_other() {
    let declared = Declared::default();
    tracing::subscriber::with_default(declared.clone(), || {
        let attributes = Attributes {
            operation: "chat",
            provider: "azure",
            wire: Wire::Chat,
            model: "m",
            method: &Method::POST,
            url: &Url::parse("https://host").unwrap(),
            request: &1,
            is_one_of_several: true,
        };
        let request = request_span(&Span::none(), &attributes, None);
        attempt_span(&request, 1, &attributes);
    });
    assert_eq!(*declared.0.lock().unwrap(), documented());
}

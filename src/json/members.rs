//! The members of a JSON object.

use std::{borrow::Cow, ops::Range};

use super::{
    lenient::string,
    walk::{name_end, skip_space, value_end_knowing},
};

/// Goes through the members of a JSON object, walking over their values. It ends at the object's end and at what is not JSON;
/// [`end`](Self::end) and [`is_whole`](Self::is_whole) tell which. Names are compared as they are written.
pub(crate) struct Members<'a> {
    json: &'a str,
    at: usize,
    state: State,
    known: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Within,
    After,
}

/// Where a member lies in its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// Escapes are as they were written.
    pub(crate) name: &'a str,
    pub(crate) value: Range<usize>,
}

impl<'a> Members<'a> {
    pub(crate) fn of(json: &'a str) -> Self {
        Self::at(json, 0)
    }

    /// Those of the object that begins at `at`, after white space perhaps.
    pub(crate) fn at(json: &'a str, at: usize) -> Self {
        Self {
            json,
            at,
            state: State::Before,
            known: "",
        }
    }

    /// The same, where strings with that inside, which has been walked over, are compared only.
    pub(crate) fn knowing(self, known: &'a str) -> Self {
        Self { known, ..self }
    }

    /// Where the object ended, once all its members have been given.
    pub(crate) fn end(&self) -> Option<usize> {
        (self.state == State::After).then_some(self.at)
    }

    /// Whether the whole text was one object, whose members have all been given.
    pub(crate) fn is_whole(&self) -> bool {
        self.end()
            .is_some_and(|end| skip_space(self.json.as_bytes(), end) == self.json.len())
    }

    /// Where the next member begins, with the quote of its name if it is one.
    #[inline]
    pub(crate) fn next_start(&mut self) -> Option<usize> {
        let json = self.json.as_bytes();
        let is_first = self.state == State::Before;
        let mut at = skip_space(json, self.at);
        match self.state {
            State::Before if json.get(at) == Some(&b'{') => at = skip_space(json, at + 1),
            State::Within => {}
            State::Before | State::After => return None,
        }
        match (json.get(at)?, is_first) {
            (b'}', _) => {
                self.at = at + 1;
                self.state = State::After;
                None
            }
            (_, true) => Some(at),
            (b',', false) => Some(skip_space(json, at + 1)),
            (_, false) => None,
        }
    }

    /// Walks over the name of the member that begins there. Gives it, and where the value begins.
    #[inline]
    pub(crate) fn name(&self, start: usize) -> Option<(&'a str, usize)> {
        let name = name_end(self.json.as_bytes(), start)?;
        Some((self.json.get(start + 1..name.quote)?, name.value))
    }

    /// Walks over the value that begins there.
    #[inline]
    pub(crate) fn value(&mut self, start: usize) -> Option<Range<usize>> {
        let end = value_end_knowing(self.json.as_bytes(), start, self.known.as_bytes())?;
        self.go_on_at(end);
        Some(start..end)
    }

    /// Goes on after a member that the caller has read, which ends there.
    pub(crate) fn go_on_at(&mut self, end: usize) {
        self.at = end;
        self.state = State::Within;
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let start = self.next_start()?;
        let (name, value) = self.name(start)?;
        let value = self.value(value)?;
        Some(Member { name, value })
    }
}

/// A name as it is meant.
pub(crate) fn unescaped(name: &str) -> Cow<'_, str> {
    if !name.contains('\\') {
        return Cow::Borrowed(name);
    }
    let meant = string(&format!("\"{name}\"")).map(Cow::into_owned);
    meant.map_or(Cow::Borrowed(name), Cow::Owned)
}

/// The value of the last member of that name, as it is written.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let members = Members::of(json).filter(|member| member.name == name);
    members.last().map(|member| &json[member.value])
}

/// The values of the members of these names, found in one walk. Of a repeated name the last counts, and null is none.
pub(crate) fn values<'a, const N: usize>(json: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    let mut values = [None; N];
    for Member { name, value } in Members::of(json) {
        if let Some(at) = names.iter().position(|known| *known == unescaped(name)) {
            values[at] = Some(&json[value]).filter(|value| *value != "null");
        }
    }
    values
}

/// An object with another value of that member, or one more member, and every other byte as it was but for white space at its end.
/// `None` for what is no object.
pub(crate) fn with_member(json: &str, name: &str, value: &str) -> Option<String> {
    let mut members = Members::of(json);
    let named = members.by_ref().filter(|member| member.name == name);
    let known = named.last();
    let end = members.end()?;
    Some(match known {
        Some(Member { value: old, .. }) => {
            format!("{}{value}{}", &json[..old.start], &json[old.end..])
        }
        None => {
            let before = json[..end - 1].trim_end();
            let comma = if before.ends_with('{') { "" } else { "," };
            format!("{before}{comma}\"{name}\":{value}}}")
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn members(json: &str) -> Vec<(&str, &str)> {
        Members::of(json)
            .map(|member| (member.name, &json[member.value]))
            .collect()
    }

    #[test]
    fn members_are_found_as_they_were_written() {
        for (json, expected) in [
            ("{}", vec![]),
            (r#"{"a":1}"#, vec![("a", "1")]),
            (
                r#" { "a" : "x\"," , "a":{"b":[1,"]}"]} ,"\u0061":null,"c":[ ]}"#,
                vec![
                    ("a", r#""x\",""#),
                    ("a", r#"{"b":[1,"]}"]}"#),
                    (r"\u0061", "null"),
                    ("c", "[ ]"),
                ],
            ),
            ("{\"é\":\r\n\t-1.5e3\n}", vec![("é", "-1.5e3")]),
        ] {
            assert_eq!(members(json), expected, "{json}");
            let mut members = Members::of(json);
            assert!(!members.is_whole());
            members.by_ref().for_each(drop);
            assert!(members.is_whole(), "{json}");
        }
    }

    #[test]
    fn other_text_has_some_members_or_none() {
        for json in [
            "",
            " ",
            "[",
            "{",
            "{\"",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":[",
            "\"a\"",
            "null",
            "{\"a\":\"b",
            "x{}",
            "{,}",
        ] {
            assert_eq!(members(json), [], "{json}");
            let mut members = Members::of(json);
            assert!(members.next().is_none() && members.next().is_none());
            assert!(!members.is_whole(), "{json}");
        }
        let mut members = Members::of("{\"a\":1");
        assert_eq!(members.by_ref().count(), 1);
        assert!(!members.is_whole());
    }

    #[test]
    fn of_some_names_the_last_values_are_found_and_null_is_none() {
        let json = r#"{"a":1,"b":[2],"c":null,"a":{"a":3},"\u0064":"e"}"#;
        let found = values(json, ["d", "a", "b", "c", "x"]);
        let expected = [Some("\"e\""), Some(r#"{"a":3}"#), Some("[2]"), None, None];
        assert_eq!(found, expected);
        assert_eq!(values("[1]", ["a"]), [None]);
        assert_eq!(member(json, "c"), Some("null"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~é\n\t\"\\\\{}]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_those_that_the_parser_finds(map in proptest::collection::btree_map("[a-z]{1,4}", value(), 0..6), is_pretty: bool) {
            let object = Value::from(map.into_iter().collect::<Map<_, _>>());
            let json = match is_pretty {
                true => serde_json::to_string_pretty(&object).unwrap(),
                false => object.to_string(),
            };
            let found: Map<_, _> = members(&json)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), serde_json::from_str(value).unwrap()))
                .collect();
            prop_assert_eq!(Value::from(found), object);
        }
    }
}

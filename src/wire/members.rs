//! The members of a JSON object that has been parsed before.

use std::ops::Range;

use super::escapes::string_inside;

/// Goes through the members of a JSON object, stepping over their values without judging them. A parser must have found the
/// text to be JSON; of any other text some members or none are found. Names are compared as they are written.
pub(crate) struct Members<'a> {
    json: &'a str,
    at: usize,
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
        Self { json, at: 0 }
    }

    /// Skips white space, and takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> Option<()> {
        let rest = &self.json.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        self.at += spaces;
        (*rest.get(spaces)? == byte).then(|| self.at += 1)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        self.take(if self.at == 0 { b'{' } else { b',' })?;
        self.take(b'"')?;
        let bytes = self.json.as_bytes();
        let name = self.at..self.at + string_inside(&bytes[self.at..])?.bytes;
        self.at = name.end + 1;
        self.take(b':')?;
        let spaces = bytes[self.at..].iter().take_while(|byte| is_space(**byte));
        let start = self.at + spaces.count();
        self.at = start + value_len(&bytes[start..])?;
        Some(Member {
            name: self.json.get(name)?,
            value: start..self.at,
        })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// How long the value is that `bytes` begin with.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let string_len = |at: usize| Some(string_inside(&bytes[at + 1..])?.bytes + 2);
    match bytes.first()? {
        b'"' => string_len(0),
        b'{' | b'[' => {
            let mut depth = 0usize;
            let mut at = 0;
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at += string_len(at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_space(*byte);
            bytes.iter().position(is_end)
        }
    }
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
            "{\"a\":1",
            "{\"a\":[",
            "\"a\"",
            "null",
            "{\"a\":\"b",
        ] {
            assert_eq!(members(json), [], "{json}");
        }
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

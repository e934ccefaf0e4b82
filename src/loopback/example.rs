//! A value that fits a JSON schema, made up.

use serde_json::{Map, Value, json};

use super::asked::json_bytes;

/// The most bytes of a value that is made up, names included.
const MAX_BYTES: usize = 64 << 10;
/// From this depth on there is only what a schema cannot be without, so that one which holds itself comes to an end.
const MAX_DEPTH: usize = 4;
/// The depth at which also that ends.
const MAX_STEPS: usize = 48;

/// Makes up a value for a schema: whatever is named in it, with the least of what it asks for. It fits but for what a schema can say
/// and this does not read, such as patterns; an empty object where the schema is too large.
pub(super) fn example(schema: &Value) -> Value {
    let mut maker = Maker {
        root: schema,
        left: MAX_BYTES,
    };
    maker.make(schema, 0, 0).unwrap_or_else(|| json!({}))
}

struct Maker<'a> {
    root: &'a Value,
    /// How many bytes more there may be.
    left: usize,
}

impl<'a> Maker<'a> {
    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }

    /// Makes up a value, within so many others and after so many steps; nothing where it would be too large or too deep.
    fn make(&mut self, schema: &'a Value, depth: usize, steps: usize) -> Option<Value> {
        self.spend(1)?;
        if steps > MAX_STEPS {
            return None;
        }
        if let Some(fixed) = schema.get("const").or_else(|| schema["enum"].get(0)) {
            self.spend(json_bytes(fixed))?;
            return Some(fixed.clone());
        }
        if let Some(name) = schema["$ref"].as_str() {
            let referred = self.root.pointer(name.strip_prefix('#')?)?;
            return self.make(referred, depth, steps + 1);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.all_of(schema, parts, depth, steps + 1);
        }
        for name in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[name].as_array() {
                let is_null = |choice: &&Value| choice["type"] == "null";
                let (nulls, others): (Vec<_>, Vec<_>) = choices.iter().partition(is_null);
                // What may be null is so where depth must come to an end.
                let order = match depth >= MAX_DEPTH {
                    true => [nulls, others],
                    false => [others, nulls],
                };
                let mut order = order.into_iter().flatten();
                return order.find_map(|choice| self.make(choice, depth, steps + 1));
            }
        }
        let kind = match &schema["type"] {
            // `["string", "null"]` is how strict schemas write an optional value.
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|kind| *kind != "null")
                .or(Some("null")),
            kind => kind.as_str(),
        };
        match kind {
            Some("string") => {
                let text = text(schema);
                self.spend(text.len())?;
                Some(text.into())
            }
            Some("integer" | "number") => Some(number(schema)),
            Some("boolean") => Some(true.into()),
            Some("null") => Some(Value::Null),
            Some("array") => self.list(schema, depth, steps + 1),
            _ => self.object(schema, depth, steps + 1),
        }
    }

    /// The members of all parts together, or else the first part that is no object.
    fn all_of(
        &mut self,
        schema: &'a Value,
        parts: &'a [Value],
        depth: usize,
        steps: usize,
    ) -> Option<Value> {
        let own = schema
            .get("properties")
            .map(|_| self.object(schema, depth, steps));
        let mut made = own.unwrap_or_else(|| Some(json!({})))?;
        for part in parts {
            match (&mut made, self.make(part, depth, steps)?) {
                (Value::Object(members), Value::Object(more)) => members.extend(more),
                (_, other) => return Some(other),
            }
        }
        Some(made)
    }

    fn list(&mut self, schema: &'a Value, depth: usize, steps: usize) -> Option<Value> {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let mut count = least.max(u64::from(depth < MAX_DEPTH));
        if let Some(most) = schema["maxItems"].as_u64() {
            count = count.min(most);
        }
        let fixed = schema["prefixItems"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let mut items = Vec::new();
        for schema in fixed {
            items.push(self.make(schema, depth + 1, steps)?);
        }
        while (items.len() as u64) < count {
            match self.make(&schema["items"], depth + 1, steps) {
                Some(item) => items.push(item),
                None if items.len() as u64 >= least => break,
                None => return None,
            }
        }
        Some(items.into())
    }

    fn object(&mut self, schema: &'a Value, depth: usize, steps: usize) -> Option<Value> {
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let mut members = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|required| required == name);
            if !is_required && depth >= MAX_DEPTH {
                continue;
            }
            let made = self
                .spend(name.len())
                .and_then(|()| self.make(schema, depth + 1, steps));
            match made {
                Some(value) => _ = members.insert(name.clone(), value),
                None if is_required => return None,
                None => {}
            }
        }
        Some(members.into())
    }
}

fn number(schema: &Value) -> Value {
    let bound = |name: &str| schema[name].as_f64();
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let unit = step.unwrap_or(1.0);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|least| least + unit));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|most| most - unit));
    let mut number = unit.min(most.unwrap_or(unit));
    number = number.max(least.unwrap_or(number));
    if let Some(step) = step {
        number = (number / step).ceil() * step;
    }
    if number.fract() == 0.0 && number.abs() < 1e15 {
        // Whole, and small enough for every digit of it.
        return (number as i64).into();
    }
    number.into()
}

fn text(schema: &Value) -> String {
    let text = match schema["format"].as_str() {
        Some("date-time") => "2023-11-14T22:13:20Z",
        Some("date") => "2023-11-14",
        Some("time") => "22:13:20Z",
        Some("duration") => "PT1S",
        Some("email") => "someone@example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "127.0.0.1",
        Some("ipv6") => "::1",
        Some("uri" | "url") => "https://example.com/",
        Some("uuid") => "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
        _ => "example",
    };
    let size = |name: &str| {
        schema[name]
            .as_u64()
            .and_then(|size| usize::try_from(size).ok())
    };
    let least = size("minLength").unwrap_or(0).min(MAX_BYTES);
    let most = size("maxLength").unwrap_or(usize::MAX);
    text.chars()
        .cycle()
        .take(text.len().max(least).min(most))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_its_schema() {
        let point = r##"{"$ref": "#/$defs/point",
            "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}}}}"##;
        let both = r#"{"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}"#;
        let fixed = r#"{"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}]}"#;
        for (schema, value) in [
            ("null", "{}"),
            (r#"{"const": 7}"#, "7"),
            (r#"{"enum": ["kelvin", "celsius"]}"#, r#""kelvin""#),
            (r#"{"type": ["null", "integer"]}"#, "1"),
            (r#"{"type": ["null"]}"#, "null"),
            (r#"{"type": "boolean"}"#, "true"),
            (r#"{"type": "integer", "minimum": 5}"#, "5"),
            (r#"{"type": "number", "exclusiveMaximum": 1}"#, "0"),
            (r#"{"type": "number", "maximum": 0.5}"#, "0.5"),
            (r#"{"type": "integer", "multipleOf": 4, "minimum": 5}"#, "8"),
            (r#"{"type": "string", "minLength": 9}"#, r#""exampleex""#),
            (r#"{"type": "string", "maxLength": 2}"#, r#""ex""#),
            (r#"{"type": "string", "format": "date"}"#, r#""2023-11-14""#),
            (r#"{"type": "array", "items": {"type": "integer"}}"#, "[1]"),
            (
                r#"{"type": "array", "items": {"const": 2}, "minItems": 3}"#,
                "[2,2,2]",
            ),
            (fixed, r#"["example",null]"#),
            (
                r#"{"anyOf": [{"type": "null"}, {"type": "string"}]}"#,
                r#""example""#,
            ),
            (r##"{"oneOf": [{"$ref": "#/nowhere"}, {"const": 1}]}"##, "1"),
            (both, r#"{"a":1,"b":2}"#),
            (point, r#"{"x":1}"#),
        ] {
            let parsed = serde_json::from_str(schema).unwrap();
            assert_eq!(example(&parsed).to_string(), value, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_holds_itself_comes_to_an_end() {
        let node = |next: Value| {
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["next"],
                "properties": {"next": next}}}})
        };
        let list = node(json!({"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}));
        let list = example(&list).to_string();
        assert!(
            list.ends_with(&format!("null{}", "}".repeat(MAX_DEPTH))),
            "{list}"
        );
        let tree = node(json!({"type": "array", "items": {"$ref": "#/$defs/node"}}));
        assert!(example(&tree).to_string().contains(r#"{"next":[]}"#));
        // Those that no value fits.
        assert_eq!(example(&node(json!({"$ref": "#/$defs/node"}))), json!({}));
        assert_eq!(example(&json!({"$ref": "#"})), json!({}));
        let pair = json!({"type": "array", "minItems": 2, "items": {"$ref": "#"}});
        assert_eq!(example(&pair), json!({}));
    }

    #[test]
    fn what_is_optional_ends_with_depth_and_size() {
        let mut schema = json!({"type": "string"});
        for _ in 0..50 {
            schema = json!({"type": "object", "properties": {"deeper": schema}});
        }
        let deepest = r#"{"deeper":{"deeper":{"deeper":{"deeper":{}}}}}"#;
        assert_eq!(example(&schema).to_string(), deepest);
        let wide: Map<_, _> = (0..MAX_BYTES / 8)
            .map(|index| (format!("p{index}"), json!({"type": "string"})))
            .collect();
        let wide = example(&json!({"properties": wide}));
        assert!(wide["p0"] == "example" && json_bytes(&wide) < 2 * MAX_BYTES);
    }
}

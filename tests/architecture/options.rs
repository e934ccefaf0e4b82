//! What structs look like that a program fills in.
//!
//! One of options (its name ends as [`ENDINGS`] say) has public fields, a default and `with_fields!`, which is a `with_*` for each of them,
//! and may get more fields. What [`BY_THEIR_PROMPT`] names has them in `Prompt`. Another one that has methods `with_*` sets every public field so, by
//! hand or by `with_fields!(some of ...)`, or takes it when it is made.

use crate::texts;

const ENDINGS: [&str; 9] = [
    "Backoff",
    "Config",
    "KeepAlive",
    "Limits",
    "Options",
    "Policy",
    "Quirks",
    "Settings",
    "Timeouts",
];

/// What `Prompt` has the methods of.
const BY_THEIR_PROMPT: [&str; 2] = ["ReasoningOptions", "RequestOptions"];

/// What `with_request_fields!` sets.
const OF_REQUESTS: [&str; 6] = ["provider", "headers", "retry", "label", "observer", "span"];

/// What breaks the rule in some files.
fn broken<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, text) in files {
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let name = line.strip_prefix("pub struct ");
            let Some(name) = name.and_then(|rest| rest.strip_suffix(" {")) else {
                continue;
            };
            let fields = fields(&lines[at + 1..]);
            let has_private = fields.iter().any(|(is_public, _)| !is_public);
            let setters = setters(text, name);
            let made = made(text, name);
            let mut tell = |what: &str| broken.push(format!("{path}: {name} {what}"));
            if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                let attributes = attributes(&lines[..at]);
                if !attributes.contains("#[non_exhaustive]") {
                    tell("is not #[non_exhaustive]");
                }
                let has_default = attributes.contains("Default")
                    || text.contains(&format!("impl Default for {name} "));
                if !has_default && made.is_empty() {
                    tell("has no default");
                }
                if has_private {
                    tell("has a private field");
                }
                let has_setters = text.contains(&format!("\nwith_fields!({name} {{"));
                if !has_setters && !BY_THEIR_PROMPT.contains(&name) {
                    tell("has no with_fields!");
                }
            } else if !setters.is_empty() {
                for (_, field) in fields.iter().filter(|(is_public, _)| *is_public) {
                    let is_set = setters.contains(&format!("self.{field}"));
                    if !is_set && !made.contains(&format!("{field}: ")) {
                        tell(&format!("has no method that sets `{field}`"));
                    }
                }
            }
        }
    }
    broken
}

/// The fields of a struct, and whether each is public.
fn fields<'a>(after: &[&'a str]) -> Vec<(bool, &'a str)> {
    let of_struct = after.iter().take_while(|line| **line != "}");
    let fields = of_struct.filter_map(|line| {
        let field = line.strip_prefix("    ")?;
        let named = field.strip_prefix("pub ").unwrap_or(field);
        let (name, _) = named.split_once(": ")?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name.then_some((named.len() < field.len(), name))
    });
    fields.collect()
}

/// What stands above a struct.
fn attributes(before: &[&str]) -> String {
    let above = before.iter().rev();
    let above = above.take_while(|line| line.starts_with('#') || line.starts_with("///"));
    let lines: Vec<_> = above
        .copied()
        .filter(|line| line.starts_with('#'))
        .collect();
    lines.concat()
}

/// The methods of a type whose heads begin so, in the file that has the type.
fn methods(text: &str, name: &str, head: &str) -> Vec<String> {
    let mut methods = Vec::new();
    let is_impl = |line: &&str| {
        let of_name = line.strip_suffix(" {").and_then(|it| it.strip_suffix(name));
        let generics = of_name.and_then(|it| it.strip_prefix("impl"));
        generics.is_some_and(|it| it == " " || it.starts_with('<') && it.ends_with("> "))
    };
    let mut lines = text.lines();
    while lines.by_ref().any(|line| is_impl(&line)) {
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "}").collect();
        let block = format!("\n{}", block.join("\n"));
        let of_head = block.split("\n    pub fn ").skip(1);
        let of_head = of_head.filter(|method| method.starts_with(head));
        methods.extend(of_head.map(|method| match method.split_once("\n    }") {
            Some((body, _)) => body.to_owned(),
            None => method.to_owned(),
        }));
    }
    methods
}

/// All `with_*` methods of a value, as text. The macros stand for those that are theirs.
fn setters(text: &str, name: &str) -> String {
    let of_value = |method: &String| {
        let parameters = method
            .split_once('(')
            .map_or("", |(_, rest)| rest)
            .trim_start();
        parameters.starts_with("mut self") || parameters.starts_with("self")
    };
    let setters = methods(text, name, "with_").into_iter().filter(of_value);
    let mut setters: String = setters.collect();
    if text.contains(&format!("\nwith_request_fields!({name} {{")) {
        setters.extend(OF_REQUESTS.map(|field| format!("self.{field} ")));
    }
    for start in ["some of ", ""] {
        let start = format!("\nwith_fields!({start}{name} {{\n");
        let of_macro = text.split_once(&start).map_or("", |(_, rest)| rest);
        let lines = of_macro.lines().take_while(|line| *line != "});");
        let fields = lines.filter_map(|line| Some(line.split_once('(')?.1.split_once(':')?.0));
        setters.extend(fields.map(|field| format!("self.{field} ")));
    }
    setters
}

/// The parameters that a type is made with.
fn made(text: &str, name: &str) -> String {
    let parameters = methods(text, name, "new(").into_iter();
    let parameters = parameters.filter_map(|new| Some(new.split_once(") -> ")?.0.to_owned()));
    parameters.collect::<Vec<_>>().concat()
}

#[test]
fn what_a_program_fills_in_keeps_one_rule() {
    let files = texts();
    let files = files.iter().map(|(path, text)| (&**path, &**text));
    let broken = broken(files.filter(|(path, _)| !path.starts_with("cli/")));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_way_to_break_the_rule_is_told() {
    let right = "#[derive(Default)]\n#[non_exhaustive]\npub struct ALimits {\n    pub a: u8,\n}\nwith_fields!(ALimits {";
    let built = "pub struct Built {\n    pub a: u8,\n    pub b: u8,\n}\nimpl Built {\n    pub fn new(a: u8) -> Self {\n        Self { a, b: 0 }\n    }\n    pub fn with_b(mut self, b: u8) -> Self {\n        self.b = b;\n    }\n}\n";
    for (text, told) in [
        (right.to_owned(), None),
        (
            right.replace("Default", "Clone"),
            Some("ALimits has no default"),
        ),
        (
            right.replace("Default", "Clone") + "\nimpl Default for ALimits {\n}\n",
            None,
        ),
        (
            right.replace("#[non_exhaustive]\n", ""),
            Some("ALimits is not #[non_exhaustive]"),
        ),
        (
            right.replace("pub a", "a"),
            Some("ALimits has a private field"),
        ),
        (
            right.replace("with_fields!(ALimits", "with_fields!(BLimits"),
            Some("ALimits has no with_fields!"),
        ),
        (built.to_owned(), None),
        (
            built.replace("self.b", "b"),
            Some("Built has no method that sets `b`"),
        ),
        (
            built.replace("pub b", "pub label") + "\nwith_request_fields!(Built {});\n",
            None,
        ),
        (
            built.replace("pub b", "pub label") + "\nwith_request_fields!(Other {});\n",
            Some("Built has no method that sets `label`"),
        ),
        (
            built.replace("self.b", "b")
                + "\nwith_fields!(some of Built {\n    with_b(b: u8),\n});\n",
            None,
        ),
        (
            built.replace("self.b", "b")
                + "\nwith_fields!(some of Built {\n    with_c(c: u8),\n});\n",
            Some("Built has no method that sets `b`"),
        ),
        (
            built
                .replace("impl Built", "impl<Q> Built<Q>")
                .replace("struct Built", "struct Built<Q>")
                .replace("self.b", "b"),
            Some("Built<Q> has no method that sets `b`"),
        ),
        (
            built.replace("(a: u8)", "()"),
            Some("Built has no method that sets `a`"),
        ),
    ] {
        let told: Vec<_> = told
            .map(|told| format!("a.rs: {told}"))
            .into_iter()
            .collect();
        assert_eq!(broken([("a.rs", &*text)]), told, "{text}");
    }
}

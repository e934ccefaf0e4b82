//! What is shown of a page or a text.

use std::borrow::Cow;

use crate::json::excerpt::cut;

/// How much of a body that is no JSON is shown, in characters.
const MAX_EXCERPT_CHARS: usize = 200;

/// What a person can read of a page or a text: its title, else its beginning, without tags.
pub(crate) fn excerpt(body: &str) -> Option<String> {
    let text = match title(body) {
        Some(title) => Cow::Borrowed(title),
        None if body.trim_start().starts_with('<') => Cow::Owned(without_tags(body)),
        None => Cow::Borrowed(body),
    };
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    (!line.is_empty()).then(|| cut(&line, MAX_EXCERPT_CHARS))
}

fn title(body: &str) -> Option<&str> {
    // Lowering ASCII leaves every byte in its place.
    let lower = body.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(&body[start..end]).filter(|title| !title.trim().is_empty())
}

fn without_tags(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        text.push(' ');
        // Styles and scripts are no words.
        let tag = rest[start..].to_ascii_lowercase();
        let end = ["style", "script"]
            .iter()
            .find(|name| tag[1..].starts_with(**name))
            .and_then(|name| tag.find(&format!("</{name}")))
            .unwrap_or(0);
        rest = match tag[end..].find('>') {
            Some(close) => &rest[start + end + close + 1..],
            None => "",
        };
    }
    text.push_str(rest);
    text
}

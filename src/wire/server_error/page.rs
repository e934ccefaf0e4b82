//! What is shown of a page or a text.

use std::borrow::Cow;

use crate::json::excerpt::cut;

/// How much of a body that is no JSON is shown, in characters.
const MAX_EXCERPT_CHARS: usize = 200;

/// What a person can read of a page or a text: its title, else its beginning, without tags.
pub(crate) fn excerpt(body: &str) -> Option<String> {
    let body = beginning(body);
    let text = match title(body) {
        Some(title) => Cow::Borrowed(title),
        None if body.trim_start().starts_with('<') => Cow::Owned(without_tags(body)),
        None => Cow::Borrowed(body),
    };
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    (!line.is_empty()).then(|| cut(&line, MAX_EXCERPT_CHARS))
}

/// How much of a page is looked at for its title.
const MAX_PAGE_BYTES: usize = 64 * 1024;

fn beginning(body: &str) -> &str {
    let end = (0..=MAX_PAGE_BYTES.min(body.len())).rev();
    let end = end.into_iter().find(|end| body.is_char_boundary(*end));
    &body[..end.unwrap_or_default()]
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
    // Lowering ASCII leaves every byte in its place.
    let lower = body.to_ascii_lowercase();
    let mut text = String::new();
    let mut at = 0;
    while let Some(start) = lower[at..].find('<') {
        text.push_str(&body[at..at + start]);
        text.push(' ');
        let tag = at + start;
        // Styles and scripts are no words.
        let end = ["style", "script"]
            .iter()
            .find(|name| lower[tag + 1..].starts_with(**name))
            .and_then(|name| lower[tag..].find(&format!("</{name}")))
            .unwrap_or(0);
        at = match lower[tag + end..].find('>') {
            Some(close) => tag + end + close + 1,
            None => body.len(),
        };
    }
    text.push_str(&body[at..]);
    text
}

//! The beginning of a text that is too long to be shown.

/// How much is quoted of what could not be read, in characters.
pub(crate) const EXCERPT_CHARS: usize = 80;

/// The beginning of what could not be read.
pub(crate) fn excerpt(text: &str) -> String {
    cut(text, EXCERPT_CHARS)
}

/// At most so many characters of a text, with an ellipsis where it was cut.
pub(crate) fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! Keeping from terminals what does something to them.

/// A text of somebody else's as a terminal may get it: without characters that do something to it.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            _ if is_harmless(character) => printable.push(character),
            _ => printable.push(char::REPLACEMENT_CHARACTER),
        }
    }
    printable
}

/// Whether it neither moves the cursor, beyond line ends, nor shows what follows in another order.
pub(super) fn is_harmless(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(
            printable("a\x1b[2J\u{9b}b\tc\n"),
            "a\u{FFFD}[2J\u{FFFD}b\tc\n"
        );
        assert_eq!(printable("a\r\nb\rc"), "a\nb\u{FFFD}c");
        assert_eq!(
            printable("\u{202a}\u{202e}\u{2066}\u{2069}\u{200f}"),
            "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{200f}"
        );
    }
}

//! Text as a terminal gets it: harmless, and in lines that end between words.

use std::mem;

use super::{harmless::is_harmless, width};

/// An indentation of so many columns is code, unless a list begins there.
const CODE_INDENT: usize = 4;
/// What a list or its number begins with.
const MARKERS: [&str; 4] = ["-", "*", "+", "\u{2022}"];

/// Breaks lines of prose at the terminal's width, between words.
///
/// What somebody may copy and use is not broken but left to the terminal, from which it is copied as one line: code in a fence, indented
/// or between backquotes, lines that begin with `$` or `|`, and words that are longer than a line. So is a text without spaces between its
/// words.
///
/// The last word is held until it is known where it ends, or until [`flush`](Self::flush).
#[derive(Default)]
pub(super) struct Wrapping {
    /// Of the terminal; without, nothing is broken.
    columns: Option<usize>,
    /// How much of the line is used.
    column: usize,
    /// The white space before the word.
    gap: String,
    word: String,
    word_columns: usize,
    line: Line,
    is_in_fence: bool,
    is_in_backquotes: bool,
    /// The last character was a CR, whose LF may come yet.
    has_cr: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// Its first word is not whole.
    #[default]
    Start,
    Prose,
    /// It is left to the terminal.
    Verbatim,
}

impl Wrapping {
    pub(super) fn set_columns(&mut self, columns: Option<usize>) {
        self.columns = columns;
    }

    /// Takes a piece of text, and appends what of it is to be printed now.
    pub(super) fn push(&mut self, text: &str, out: &mut String) {
        for character in text.chars() {
            if mem::take(&mut self.has_cr) && character != '\n' {
                self.letter(char::REPLACEMENT_CHARACTER, out);
            }
            match character {
                '\r' => self.has_cr = true,
                '\n' => {
                    self.end(out);
                    out.push('\n');
                }
                ' ' | '\t' if !self.is_in_backquotes => {
                    self.end_word(out);
                    self.gap.push(character);
                }
                _ if is_harmless(character) => self.letter(character, out),
                _ => self.letter(char::REPLACEMENT_CHARACTER, out),
            }
        }
        if self.columns.is_none() || self.line == Line::Verbatim {
            self.flush(out);
        }
    }

    fn letter(&mut self, character: char, out: &mut String) {
        let columns = width::columns(character);
        if columns == 2 && !self.is_in_backquotes && !self.word.ends_with('\u{200d}') {
            // There is no white space between such words, and the terminal breaks the line at any of them.
            self.end_word(out);
        }
        if character == '`' && self.line != Line::Verbatim {
            self.is_in_backquotes ^= true;
        }
        self.word.push(character);
        self.word_columns += columns;
        if self.columns.is_some_and(|line| self.word_columns > line) {
            self.print_word(out);
        }
    }

    fn end_word(&mut self, out: &mut String) {
        if !self.word.is_empty() {
            self.print_word(out);
        }
    }

    /// Ends the line, without a line end.
    pub(super) fn end(&mut self, out: &mut String) {
        self.end_word(out);
        out.push_str(&mem::take(&mut self.gap));
        self.column = 0;
        self.line = Line::Start;
        self.is_in_backquotes = false;
        self.has_cr = false;
    }

    /// Prints what is held, for nothing may come for a while.
    pub(super) fn flush(&mut self, out: &mut String) {
        let may_open_fence = self.line == Line::Start && is_made_of_fence(&self.word);
        if !self.word.is_empty() && !may_open_fence {
            self.print_word(out);
        }
    }

    fn print_word(&mut self, out: &mut String) {
        let gap_columns = columns_of_gap(&self.gap, self.column);
        if self.line == Line::Start {
            self.line = self.kind_of_line(gap_columns);
        }
        let needed = self.column + gap_columns + self.word_columns;
        let columns = self.columns.unwrap_or(usize::MAX);
        // Without white space before it, it is the rest of a word, or of a script that the terminal breaks.
        let is_broken =
            self.line == Line::Prose && self.column > 0 && !self.gap.is_empty() && needed > columns;
        self.column = match is_broken {
            true => {
                out.push('\n');
                self.word_columns
            }
            false => {
                out.push_str(&self.gap);
                needed
            }
        };
        // The terminal breaks what is longer.
        if self.column > columns {
            self.column = match self.word_columns {
                2 => 2,
                _ => (self.column - 1) % columns + 1,
            };
        }
        out.push_str(&self.word);
        self.gap.clear();
        self.word.clear();
        self.word_columns = 0;
    }

    /// What the line's first word says of it.
    fn kind_of_line(&mut self, indent: usize) -> Line {
        let word = &*self.word;
        let is_fence = word.starts_with("```") || word.starts_with("~~~");
        let is_number = word
            .strip_suffix(['.', ')'])
            .is_some_and(|number| number.chars().all(|character| character.is_ascii_digit()));
        if is_fence {
            self.is_in_backquotes = false;
            self.is_in_fence ^= true;
        }
        let is_code = indent >= CODE_INDENT && !is_number && !MARKERS.contains(&word);
        match is_fence || self.is_in_fence || is_code || word.starts_with(['$', '|']) {
            true => {
                self.is_in_backquotes = false;
                Line::Verbatim
            }
            false => Line::Prose,
        }
    }
}

/// A whole text, broken at the width of a terminal.
pub(super) fn wrapped(text: &str, columns: Option<usize>) -> String {
    let mut wrapping = Wrapping::default();
    wrapping.set_columns(columns);
    let mut out = String::with_capacity(text.len());
    wrapping.push(text, &mut out);
    wrapping.end(&mut out);
    out
}

fn is_made_of_fence(word: &str) -> bool {
    word.len() < 3 && word.chars().all(|character| matches!(character, '`' | '~'))
}

/// The columns of white space that begins at a column.
fn columns_of_gap(gap: &str, column: usize) -> usize {
    let end = gap
        .chars()
        .fold(column, |column, character| match character {
            '\t' => (column / 8 + 1) * 8,
            _ => column + 1,
        });
    end - column
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal of ten columns gets, of pieces that end anywhere.
    fn shown(text: &str) -> String {
        let in_one = shown_in_pieces(&[text]);
        let letters: Vec<_> = text.split_inclusive(|_| true).collect();
        assert_eq!(shown_in_pieces(&letters), in_one, "{text:?}");
        in_one
    }

    fn shown_in_pieces(pieces: &[&str]) -> String {
        let mut wrapping = Wrapping::default();
        wrapping.set_columns(Some(10));
        let mut out = String::new();
        for piece in pieces {
            wrapping.push(piece, &mut out);
        }
        wrapping.end(&mut out);
        out
    }

    #[test]
    fn lines_end_between_words() {
        for (text, expected) in [
            ("one two three", "one two\nthree"),
            ("one two  and", "one two\nand"),
            ("one two th\nfour", "one two th\nfour"),
            ("one\ttwo", "one\ntwo"),
            ("a longer-than-a-line b", "a\nlonger-than-a-line b"),
            ("1234567 e\u{301}e", "1234567 e\u{301}e"),
            ("日本語日 日本", "日本語日\n日本"),
            ("a日本語日本語", "a日本語日本語"),
            ("12345678 😀", "12345678\n😀"),
            ("- one two three", "- one two\nthree"),
            ("    - one two", "    - one\ntwo"),
            ("a `b c d e f g` h", "a\n`b c d e f g` h"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_copied_and_used_is_not_broken() {
        for text in [
            "```sh\ncurl --head http://localhost\n```",
            "~~~\na b c d e f g h\n~~~",
            "    let a = b + c;",
            "$ rm -rf a b c d",
            "| a | b | c | d |",
        ] {
            assert_eq!(shown(text), text);
        }
        let fence = "```\na b c d e f g h\n```\n";
        let after = format!("{fence}one two three");
        assert_eq!(shown(&after), format!("{fence}one two\nthree"));
    }

    #[test]
    fn line_ends_of_two_characters_are_one_and_others_are_harmless() {
        assert_eq!(shown("a\r\nb\r\n\r\nc\r"), "a\nb\n\nc");
        assert_eq!(shown("a\rb\x1bc\u{202e}d"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
    }

    #[test]
    fn a_word_that_waits_is_printed_and_goes_on_in_its_line() {
        let mut wrapping = Wrapping::default();
        wrapping.set_columns(Some(10));
        let mut out = String::new();
        wrapping.push("one two th", &mut out);
        assert_eq!(out, "one two");
        wrapping.flush(&mut out);
        wrapping.push("ree four", &mut out);
        wrapping.end(&mut out);
        // It is too late to break before it.
        assert_eq!(out, "one two three four");

        let mut wrapping = Wrapping::default();
        let mut out = String::new();
        wrapping.push("one two th", &mut out);
        assert_eq!(out, "one two th");
    }
}

//! Rust source as tokens, and what a file declares, imports and names.

use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Step,
    Sign(char),
    /// What stands between the quotes of a string.
    Text(String),
}

/// What one file says outside of its tests.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Modules that have a file of their own.
    pub(crate) modules: Vec<Declared>,
    pub(crate) imports: Vec<Import>,
    /// Paths of two parts or more in the code itself.
    pub(crate) paths: Vec<Vec<String>>,
    /// Every word of the code, imports apart.
    pub(crate) words: BTreeSet<String>,
    /// What it defines, at any depth.
    pub(crate) items: BTreeSet<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) is_test: bool,
}

/// One leaf of a `use` tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) binding: Binding,
    /// Whether the file passes it on.
    pub(crate) is_public: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Binding {
    Name(String),
    /// `as _`
    Nothing,
    /// `*`
    All,
}

impl Source {
    pub(crate) fn read(text: &str) -> Self {
        let mut source = Self::default();
        source.take(&mut Tokens::new(tokens(text)), false);
        source
    }

    /// Takes in all tokens; of tests only the modules that they declare.
    fn take(&mut self, tokens: &mut Tokens, is_test: bool) {
        let mut is_public = false;
        while let Some(token) = tokens.next() {
            let was_public = std::mem::take(&mut is_public);
            let word = match token {
                Token::Sign('#') => {
                    let attribute = tokens.attribute();
                    match is_test {
                        true => {}
                        false if is_of_tests(&attribute) => {
                            self.take(&mut Tokens::new(tokens.item()), true);
                        }
                        false => self.take_attribute(attribute),
                    }
                    continue;
                }
                Token::Word(word) => word,
                _ => continue,
            };
            match (&*word, tokens.peek(0), tokens.peek(1)) {
                ("pub", Some(Token::Sign('(')), _) => {
                    tokens.group();
                    is_public = true;
                }
                ("pub", ..) => is_public = true,
                ("mod", Some(Token::Word(name)), Some(Token::Sign(';'))) => {
                    let name = name.clone();
                    self.modules.push(Declared { name, is_test });
                }
                _ if is_test => {}
                // `use<'a>` of an `impl Trait` is none.
                ("use", Some(next), _) if *next != Token::Sign('<') => {
                    let statement = tokens.until_semicolon();
                    self.take_import(&mut Tokens::new(statement), &mut Vec::new(), was_public);
                }
                (
                    "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union",
                    Some(Token::Word(name)),
                    _,
                ) => {
                    self.items.insert(name.clone());
                }
                ("macro_rules", Some(Token::Sign('!')), Some(Token::Word(name))) => {
                    self.items.insert(name.clone());
                }
                _ => self.take_path(word, tokens),
            }
        }
    }

    /// Takes in the paths of an attribute, those that serde has as strings too.
    fn take_attribute(&mut self, attribute: Vec<Token>) {
        let unquoted = attribute.into_iter().flat_map(|token| match token {
            Token::Text(text) if text.contains("::") => tokens(&text),
            other => vec![other],
        });
        let mut tokens = Tokens::new(unquoted.collect());
        while let Some(token) = tokens.next() {
            if let Token::Word(word) = token {
                self.take_path(word, &mut tokens);
            }
        }
    }

    fn take_path(&mut self, first: String, tokens: &mut Tokens) {
        let mut path = vec![first];
        while let (Some(Token::Step), Some(Token::Word(next))) = (tokens.peek(0), tokens.peek(1)) {
            path.push(next.clone());
            tokens.next();
            tokens.next();
        }
        self.words.insert(path[0].clone());
        if path.len() > 1 {
            self.paths.push(path);
        }
    }

    /// Takes in a `use` tree below `prefix`, as far as the comma or brace that ends it.
    fn take_import(&mut self, tokens: &mut Tokens, prefix: &mut Vec<String>, is_public: bool) {
        let depth = prefix.len();
        let mut binding = None;
        while let Some(token) = tokens.next() {
            match token {
                Token::Sign('{') => {
                    while tokens.peek(0).is_some_and(|next| *next != Token::Sign('}')) {
                        self.take_import(tokens, prefix, is_public);
                    }
                    tokens.next();
                    if tokens.peek(0) == Some(&Token::Sign(',')) {
                        tokens.next();
                    }
                    prefix.truncate(depth);
                    return;
                }
                Token::Sign('*') => binding = Some(Binding::All),
                Token::Sign(',') => break,
                Token::Word(word) if word == "as" => {
                    binding = Some(match tokens.next() {
                        Some(Token::Word(name)) if name != "_" => Binding::Name(name),
                        _ => Binding::Nothing,
                    });
                }
                // `{self}` is what stands before the braces.
                Token::Word(word) if word == "self" && !prefix.is_empty() => {}
                Token::Word(word) => prefix.push(word),
                _ => {}
            }
            if tokens.peek(0) == Some(&Token::Sign('}')) {
                break;
            }
        }
        let path = prefix.clone();
        prefix.truncate(depth);
        if let Some(last) = path.last() {
            let binding = binding.unwrap_or_else(|| Binding::Name(last.clone()));
            self.imports.push(Import {
                path,
                binding,
                is_public,
            });
        }
    }
}

/// Whether an attribute is `cfg(test)`, or more than that.
fn is_of_tests(attribute: &[Token]) -> bool {
    let has = |word: &str| {
        let is_word = |token: &Token| matches!(token, Token::Word(other) if other == word);
        attribute.iter().any(is_word)
    };
    has("cfg") && has("test") && !has("not")
}

struct Tokens {
    all: Vec<Token>,
    at: usize,
}

impl Tokens {
    fn new(all: Vec<Token>) -> Self {
        Self { all, at: 0 }
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.all.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.all.get(self.at + ahead)
    }

    /// What stands in brackets of any kind, which begin here.
    fn group(&mut self) -> Vec<Token> {
        let begin = self.at;
        let mut depth = 0;
        while let Some(token) = self.next() {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        let end = self.at.min(self.all.len());
        self.all[begin.min(end)..end].to_vec()
    }

    /// An attribute whose `#` was taken; nothing where none follows.
    fn attribute(&mut self) -> Vec<Token> {
        if self.peek(0) == Some(&Token::Sign('!')) {
            self.next();
        }
        match self.peek(0) {
            Some(Token::Sign('[')) => self.group(),
            _ => Vec::new(),
        }
    }

    /// The item that begins here, as far as its semicolon or its block.
    fn item(&mut self) -> Vec<Token> {
        let begin = self.at;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Sign('(' | '[') => drop(self.group()),
                Token::Sign('{') => {
                    self.group();
                    if self.peek(0) != Some(&Token::Sign(';')) {
                        break;
                    }
                }
                Token::Sign(';') => {
                    self.next();
                    break;
                }
                _ => drop(self.next()),
            }
        }
        self.all[begin..self.at].to_vec()
    }

    fn until_semicolon(&mut self) -> Vec<Token> {
        let begin = self.at;
        while self.peek(0).is_some_and(|next| *next != Token::Sign(';')) {
            self.next();
        }
        self.all[begin..self.at].to_vec()
    }
}

/// The tokens of a text, without comments, characters, numbers and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = string_length(rest) {
            let quoted = rest[..length].trim_start_matches(['b', 'c', 'r']);
            let text = quoted.trim_matches(['#', '"']);
            tokens.push(Token::Text(text.to_owned()));
            length
        } else if first == '\'' {
            quote_length(rest)
        } else if is_of_word(first) {
            let length = word_length(rest);
            if !first.is_ascii_digit() {
                tokens.push(Token::Word(rest[..length].to_owned()));
            }
            length
        } else if rest.starts_with("::") {
            tokens.push(Token::Step);
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_of_word(c)).unwrap_or(text.len())
}

/// Comments nest.
fn comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let pair = text.as_bytes().get(at..at + 2);
        match pair {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// The length of the string literal that a text begins with, whatever its prefix.
fn string_length(text: &str) -> Option<usize> {
    let after_prefix = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - after_prefix.len();
    let raw = after_prefix.strip_prefix('r').filter(|_| prefix < 2);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let body = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + length);
    }
    let body = after_prefix.strip_prefix('"').filter(|_| prefix < 2)?;
    let mut is_escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    Some(prefix + 1 + end.map_or(body.len(), |at| at + 1))
}

/// The length of a character literal, or of a lifetime.
fn quote_length(text: &str) -> usize {
    let body = &text[1..];
    let character = body.strip_prefix('\\').unwrap_or(body);
    let begin = text.len() - character.len();
    let first = begin + character.chars().next().map_or(0, char::len_utf8);
    match text[first..].find('\'') {
        Some(more) if more == 0 || begin == 2 => first + more + 1,
        _ => 1 + word_length(body),
    }
}

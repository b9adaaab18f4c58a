//! Rust source as tokens: just enough to tell code from comments and strings, and code that ships
//! from code under `#[cfg(test)]`. Trusts that the source compiles.

/// One token and the line it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// The content of a string literal.
    Text(String),
    /// A punctuation character; `::` is `PathSeparator`.
    Mark(char),
    PathSeparator,
    /// A number, a character or a lifetime.
    Other,
}

impl Token {
    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    pub(super) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// Splits `source` into tokens; comments, documentation among them, are left out.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { characters: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(character) = lexer.peek(0) {
        let line = lexer.line;
        let kind = match character {
            _ if character.is_whitespace() => {
                lexer.bump();
                continue;
            }
            '/' if lexer.peek(1) == Some('/') => {
                lexer.line_comment();
                continue;
            }
            '/' if lexer.peek(1) == Some('*') => {
                lexer.block_comment();
                continue;
            }
            '"' => Kind::Text(lexer.string()),
            '\'' => lexer.character_or_lifetime(),
            ':' if lexer.peek(1) == Some(':') => {
                lexer.bump();
                lexer.bump();
                Kind::PathSeparator
            }
            _ if character.is_ascii_digit() => {
                lexer.word();
                Kind::Other
            }
            _ if is_word(character) => lexer.word_or_string(),
            mark => {
                lexer.bump();
                Kind::Mark(mark)
            }
        };
        tokens.push(Token { kind, line });
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let character = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|character| character != '\n') {
            self.bump();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(character) = self.bump() {
            match (character, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while self.peek(0).is_some_and(is_word) {
            word.extend(self.bump());
        }
        word
    }

    fn word_or_string(&mut self) -> Kind {
        let word = self.word();
        let prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
        match self.peek(0) {
            Some('"') if prefix && word.contains('r') => Kind::Text(self.raw_string(0)),
            Some('"') if prefix => Kind::Text(self.string()),
            Some('\'') if word == "b" => self.character_or_lifetime(),
            Some('#') if prefix && word.contains('r') => {
                let mut hashes = 0;
                while self.peek(hashes) == Some('#') {
                    hashes += 1;
                }
                if self.peek(hashes) == Some('"') {
                    for _ in 0..hashes {
                        self.bump();
                    }
                    Kind::Text(self.raw_string(hashes))
                } else {
                    // A raw identifier such as `r#type`.
                    self.bump();
                    Kind::Word(self.word())
                }
            }
            _ => Kind::Word(word),
        }
    }

    fn string(&mut self) -> String {
        let mut text = String::new();
        self.bump();
        while let Some(character) = self.bump() {
            match character {
                '"' => break,
                '\\' => {
                    self.bump();
                }
                other => text.push(other),
            }
        }
        text
    }

    fn raw_string(&mut self, hashes: usize) -> String {
        let mut text = String::new();
        self.bump();
        while let Some(character) = self.bump() {
            if character == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                for _ in 0..hashes {
                    self.bump();
                }
                break;
            }
            text.push(character);
        }
        text
    }

    fn character_or_lifetime(&mut self) -> Kind {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            while self.bump().is_some_and(|character| character != '\'') {}
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        } else {
            self.word();
        }
        Kind::Other
    }
}

/// `tokens` without the items that only tests see.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match outer_attribute(tokens, at) {
            Some(end) if is_test_only(&tokens[at..end]) => {
                at = end;
                while let Some(end) = outer_attribute(tokens, at) {
                    at = end;
                }
                at = item_end(tokens, at);
            }
            Some(end) => {
                kept.extend_from_slice(&tokens[at..end]);
                at = end;
            }
            None => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Where the attribute `#[…]` that starts at `at` ends, if one does.
fn outer_attribute(tokens: &[Token], at: usize) -> Option<usize> {
    if !tokens.get(at)?.is('#') || !tokens.get(at + 1)?.is('[') {
        return None;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.kind {
            Kind::Mark('[') => depth += 1,
            Kind::Mark(']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index + 1);
        }
    }
    None
}

/// Whether an attribute is `#[test]`, `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_test_only(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().filter_map(Token::word).collect();
    words == ["test"]
        || words.starts_with(&["cfg", "test"])
        || (words.starts_with(&["cfg", "all"])
            && words.contains(&"test")
            && !words.contains(&"not")
            && !words.contains(&"any"))
}

/// Where the item, field or variant that starts at `at` ends.
fn item_end(tokens: &[Token], at: usize) -> usize {
    const ITEMS: [&str; 15] = [
        "async",
        "const",
        "enum",
        "extern",
        "fn",
        "impl",
        "let",
        "macro_rules",
        "mod",
        "pub",
        "static",
        "struct",
        "trait",
        "type",
        "unsafe",
    ];
    let first = tokens.get(at).and_then(Token::word).unwrap_or_default();
    let is_use =
        tokens[at..].iter().take_while(|token| !token.is('{') && !token.is(';')).any(|token| token.is_word("use"));
    // A field or variant ends at its comma; the commas of an item's generics end nothing.
    let ends_at_comma = !is_use && !ITEMS.contains(&first);
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.kind {
            Kind::Mark('{' | '(' | '[') => depth += 1,
            Kind::Mark('}' | ')' | ']') if depth == 0 => return index,
            Kind::Mark('}') if depth == 1 && !is_use => return index + 1,
            Kind::Mark('}' | ')' | ']') => depth -= 1,
            Kind::Mark(';') if depth == 0 => return index + 1,
            Kind::Mark(',') if depth == 0 && ends_at_comma => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        without_tests(&tokens(source)).iter().filter_map(|token| token.word().map(String::from)).collect()
    }

    #[test]
    fn comments_strings_and_characters_hold_no_words() {
        let source = r###"
            a /* no /* no */ no */ b // no
            "no \" no" c r"no\" d r##"no "# no"## e b'n' 'n' '\'' '\u{1f}' f<'static> b"no" r#g
        "###;
        assert_eq!(words(source), ["a", "b", "c", "d", "e", "f", "g"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let tokens = tokens("/*\n*/ a\n\"\n\" b");
        let lines: Vec<usize> = tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }

    #[test]
    fn test_items_are_left_out_and_their_neighbours_kept() {
        let source = "
            fn a() {}
            #[cfg(test)] #[path = \"x.rs\"] mod no;
            #[cfg(test)] mod no { fn no() { { no(); } } }
            #[cfg(test)] pub(crate) use no::{no, no};
            #[cfg(test)] fn no<A, B>(no: [u8; 2]) -> no { no }
            #[cfg(all(test, feature = \"x\"))] const no: [u8; 1] = [1];
            #[test] fn no() {}
            struct B { #[cfg(test)] no: no, c: D }
            fn e() {}";
        let words = words(source);
        assert!(!words.contains(&"no".to_owned()), "{words:?}");
        assert_eq!(words, ["fn", "a", "struct", "B", "c", "D", "fn", "e"]);
    }

    #[test]
    fn code_that_tests_do_not_see_is_kept() {
        let source = "#[cfg(not(test))] fn a() {} #[cfg(any(test, x))] fn b() {}";
        let words = words(source);
        assert!(words.contains(&"a".to_owned()) && words.contains(&"b".to_owned()));
    }
}

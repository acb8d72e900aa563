//! From text to filter, by one token at a time.

use super::{FilterError, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, Node};

/// Words that have a meaning of their own and need quotes as labels or values.
const RESERVED: &[&str] = &["all", "and", "or", "not", "has", "in"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
    End,
}

impl Token {
    fn show(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) => format!("{text:?}"),
            Self::Sign(sign) => format!("\"{sign}\""),
            Self::End => "the end".to_owned(),
        }
    }

    /// Whether it is this word of the language.
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }
}

fn is_word_character(character: char) -> bool {
    character.is_alphanumeric()
        || matches!(character, '_' | '-' | '.' | ':' | '/' | '+' | '*' | '@')
}

/// Whether a word can stand without quotes.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(is_word_character)
        && !RESERVED.iter().any(|word| word.eq_ignore_ascii_case(text))
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    /// The character that comes next, from 1.
    place: usize,
    token: Token,
    /// Where the token began.
    at: usize,
    depth: usize,
}

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError {
            at: 1,
            what: format!(
                "{} bytes, at most {MAX_FILTER_BYTES} are allowed",
                text.len()
            ),
        });
    }
    let mut parser = Parser {
        rest: text.chars().peekable(),
        place: 1,
        token: Token::End,
        at: 1,
        depth: 0,
    };
    parser.advance()?;
    if parser.token == Token::End {
        return Ok(Node::All);
    }
    let node = parser.either()?;
    match parser.token {
        Token::End => Ok(node),
        _ => Err(parser.wrong("\"and\" or \"or\" is expected")),
    }
}

impl Parser<'_> {
    fn error(&self, what: impl Into<String>) -> FilterError {
        FilterError {
            at: self.at,
            what: what.into(),
        }
    }

    /// What is expected, and what is there.
    fn wrong(&self, expected: &str) -> FilterError {
        self.error(format!("{expected}, not {}", self.token.show()))
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next();
        self.place += usize::from(character.is_some());
        character
    }

    fn advance(&mut self) -> Result<(), FilterError> {
        while self.rest.peek().is_some_and(|c| c.is_whitespace()) {
            self.next();
        }
        self.at = self.place;
        let Some(first) = self.next() else {
            self.token = Token::End;
            return Ok(());
        };
        self.token = match first {
            '(' => Token::Sign("("),
            ')' => Token::Sign(")"),
            ',' => Token::Sign(","),
            '~' => Token::Sign("~"),
            '=' => {
                self.skip('=');
                Token::Sign("=")
            }
            '!' if self.skip('=') => Token::Sign("!="),
            '"' | '\'' => self.quoted(first)?,
            c if is_word_character(c) => {
                let mut word = String::from(c);
                while let Some(&c) = self.rest.peek() {
                    if !is_word_character(c) {
                        break;
                    }
                    word.push(c);
                    self.next();
                }
                Token::Word(word)
            }
            other => {
                return Err(self.error(format!("the character {other:?} has no meaning here")));
            }
        };
        Ok(())
    }

    fn skip(&mut self, wanted: char) -> bool {
        let there = self.rest.peek() == Some(&wanted);
        if there {
            self.next();
        }
        there
    }

    fn quoted(&mut self, quote: char) -> Result<Token, FilterError> {
        let mut text = String::new();
        while let Some(character) = self.next() {
            match character {
                c if c == quote => return Ok(Token::Quoted(text)),
                '\\' => match self.next() {
                    Some(escaped) => text.push(escaped),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(self.error("the quote is not closed"))
    }

    fn either(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.both()?];
        while self.token.is("or") {
            self.advance()?;
            parts.push(self.both()?);
        }
        Ok(one_or(parts, Node::Or))
    }

    fn both(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.condition()?];
        while self.token.is("and") {
            self.advance()?;
            parts.push(self.condition()?);
        }
        Ok(one_or(parts, Node::And))
    }

    fn condition(&mut self) -> Result<Node, FilterError> {
        if self.depth >= MAX_FILTER_DEPTH {
            return Err(self.error(format!(
                "more than {MAX_FILTER_DEPTH} parentheses within each other"
            )));
        }
        self.depth += 1;
        let node = self.one();
        self.depth -= 1;
        node
    }

    fn one(&mut self) -> Result<Node, FilterError> {
        if self.token == Token::Sign("(") {
            self.advance()?;
            let node = self.either()?;
            self.close()?;
            return Ok(node);
        }
        if self.token.is("not") {
            self.advance()?;
            return Ok(Node::Not(Box::new(self.condition()?)));
        }
        if self.token.is("all") {
            self.advance()?;
            return Ok(Node::All);
        }
        if self.token.is("has") {
            self.advance()?;
            return Ok(Node::Has(self.text("a label is expected")?));
        }
        let label = self.text("a condition is expected")?;
        match self.token {
            Token::Sign("=") => {
                self.advance()?;
                Ok(Node::Is(label, self.value()?))
            }
            Token::Sign("!=") => {
                self.advance()?;
                Ok(Node::IsNot(label, self.value()?))
            }
            Token::Sign("~") => {
                self.advance()?;
                Ok(Node::Like(label, self.value()?))
            }
            _ if self.token.is("in") => {
                self.advance()?;
                self.values().map(|values| Node::In(label, values))
            }
            _ => Err(self.wrong(&format!(
                "after the label {label:?}, one of ==, !=, ~, in is expected"
            ))),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, FilterError> {
        if self.token != Token::Sign("(") {
            return Err(self.wrong("\"(\" is expected"));
        }
        self.advance()?;
        let mut values = vec![self.value()?];
        while self.token == Token::Sign(",") {
            self.advance()?;
            values.push(self.value()?);
        }
        self.close()?;
        Ok(values)
    }

    fn close(&mut self) -> Result<(), FilterError> {
        match self.token {
            Token::Sign(")") => self.advance(),
            Token::End => Err(self.error("\")\" is missing")),
            _ => Err(self.wrong("\")\" is expected")),
        }
    }

    fn value(&mut self) -> Result<String, FilterError> {
        self.text("a value is expected")
    }

    /// A word or a quoted text.
    fn text(&mut self, expected: &str) -> Result<String, FilterError> {
        let text = match &self.token {
            Token::Quoted(text) => text.clone(),
            Token::Word(text) if is_plain(text) => text.clone(),
            _ => return Err(self.wrong(expected)),
        };
        self.advance()?;
        Ok(text)
    }
}

fn one_or(mut parts: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

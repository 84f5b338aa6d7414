//! A Rust file as the rules see it: code, comments and string literals told apart.
//!
//! It scans characters and counts brackets and does not parse: enough for rules that look at words, lines and
//! the extent of items, and quick to compile. What a macro would expand to stays unseen.

use std::ops::Range;

/// A comment (one for each of its lines) or the contents of a string literal.
#[derive(Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The line on which it starts, counted from 1.
    pub line: usize,
    pub text: String,
}

/// A function, from the line of `fn` to that of its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub offset: usize,
    pub lines: Range<usize>,
}

/// A scanned file. Offsets count bytes of `code`.
pub struct Source {
    /// The file with its comments, and the contents of its literals, turned into blanks. Line breaks stay; every
    /// other character is one byte of ASCII, so offsets may be cut anywhere.
    pub code: String,
    pub comments: Vec<Fragment>,
    pub literals: Vec<Fragment>,
    line_starts: Vec<usize>,
    test_spans: Vec<Range<usize>>,
}

impl Source {
    pub fn scan(text: &str) -> Source {
        let mut scanner = Scanner { text: text.chars().collect(), at: 0, line: 1, ..Scanner::default() };
        scanner.run();
        let Scanner { code, comments, literals, .. } = scanner;
        let line_starts = std::iter::once(0).chain(code.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let test_spans = test_spans(&code);
        Source { code, comments, literals, line_starts, test_spans }
    }

    /// The line of `offset`, counted from 1.
    pub fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// How many lines the file has.
    pub fn line_count(&self) -> usize {
        self.line_starts.len() - usize::from(self.code.ends_with('\n') || self.code.is_empty())
    }

    /// Whether `offset` is inside an item that only tests compile.
    pub fn is_test(&self, offset: usize) -> bool {
        self.test_spans.iter().any(|span| span.contains(&offset))
    }

    /// Where `word` stands as a whole identifier.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word)
    }

    /// The code after `offset`, without leading blanks.
    pub fn after(&self, offset: usize) -> &str {
        self.code[offset..].trim_start()
    }

    /// The code before `offset`, without trailing blanks.
    pub fn before(&self, offset: usize) -> &str {
        self.code[..offset].trim_end()
    }

    /// The functions that have a body.
    pub fn functions(&self) -> Vec<Function> {
        self.words("fn").filter_map(|offset| self.function(offset)).collect()
    }

    /// The modules declared here that only tests compile and whose text is in a file of its own.
    pub fn test_modules(&self) -> Vec<String> {
        let declared = self.words("mod").filter(|&offset| self.is_test(offset));
        declared
            .filter_map(|offset| self.code[offset + 3..].split_once(';'))
            .filter_map(|(name, _)| word(name))
            .collect()
    }

    fn function(&self, offset: usize) -> Option<Function> {
        let signature = offset + "fn".len();
        let name =
            self.after(signature).split(|c: char| !is_word(c) && c != '$').next().filter(|name| !name.is_empty())?;
        let open = body(&self.code, signature)?;
        let lines = self.line_at(offset)..self.line_at(matching(&self.code, open)) + 1;
        Some(Function { name: name.to_owned(), offset, lines })
    }
}

/// The names that follow directly behind a path whose rest is `code`: for `{a::b, c}` they are `a` and `c`.
pub fn first_segments(code: &str) -> Vec<String> {
    let Some(group) = code.trim_start().strip_prefix('{') else {
        return word(code).into_iter().collect();
    };
    let mut depth = 0_usize;
    let mut entries = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(String::new()),
            _ if depth == 0 => entries.last_mut().expect("the list starts with one entry").push(c),
            _ => {}
        }
    }
    entries.iter().filter_map(|entry| word(entry)).collect()
}

/// Where `word` stands in `text` as a whole identifier.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let joined_before = text[..at].chars().next_back().is_some_and(is_word);
        let joined_after = text[at + word.len()..].chars().next().is_some_and(is_word);
        !joined_before && !joined_after
    })
}

/// The identifier that `text` starts with, after blanks.
fn word(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|&c| is_word(c)).collect();
    (!name.is_empty()).then_some(name)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the body of a function starts whose signature is at `from`; `None` if it has no body.
fn body(code: &str, from: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut angles = 0_usize;
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'(' | b'[' => at = matching(code, at),
            b'<' => angles += 1,
            b'>' if bytes[at - 1] != b'-' => angles = angles.saturating_sub(1),
            b'{' if angles > 0 => at = matching(code, at),
            b'{' => return Some(at),
            b';' | b'}' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the bracket that opens at `open` closes, or the end of the code.
fn matching(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth <= 1 => return at,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The items that only tests compile: from their attribute to their end.
fn test_spans(code: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (start, _) in code.match_indices('#') {
        let rest = code[start + 1..].trim_start();
        let whole_file = rest.starts_with('!');
        let rest = rest.strip_prefix('!').unwrap_or(rest).trim_start();
        if !rest.starts_with('[') {
            continue;
        }
        let open = code.len() - rest.len();
        let close = matching(code, open);
        if is_test_attribute(&code[open + 1..close]) {
            spans.push(if whole_file { 0..code.len() } else { start..item_end(code, close + 1) });
        }
    }
    spans
}

/// Whether an attribute (without its brackets) keeps an item out of the product: `cfg(test)`, `test`, `tokio::test`.
fn is_test_attribute(attribute: &str) -> bool {
    let attribute: String = attribute.split_whitespace().collect();
    let path = attribute.split('(').next().unwrap_or_default();
    attribute == "cfg(test)" || attribute.starts_with("cfg(all(test,") || path.rsplit("::").next() == Some("test")
}

/// Where the item ends that starts at `from`: behind its semicolon or its braces.
fn item_end(code: &str, from: usize) -> usize {
    let mut at = from.min(code.len());
    while let Some(&byte) = code.as_bytes().get(at) {
        match byte {
            b'(' | b'[' => at = matching(code, at),
            b'{' => return (matching(code, at) + 1).min(code.len()),
            b';' | b'}' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    code.len()
}

/// The walk over the characters. `at` only ever moves on, and each character is written to `code` once.
#[derive(Default)]
struct Scanner {
    text: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    comments: Vec<Fragment>,
    literals: Vec<Fragment>,
}

impl Scanner {
    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('\'', _) => self.quote(),
                _ if is_word(c) => self.word(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// Passes one character on as code.
    fn keep(&mut self) {
        let c = self.text[self.at];
        self.write(if c.is_ascii() { c } else { '_' });
    }

    /// Passes one character on as a blank and returns it.
    fn blank(&mut self) -> char {
        let c = self.text[self.at];
        self.write(if c == '\n' { c } else { ' ' });
        c
    }

    fn write(&mut self, c: char) {
        self.code.push(c);
        self.line += usize::from(c == '\n');
        self.at += 1;
    }

    fn line_comment(&mut self) {
        let line = self.line;
        let mut text = String::new();
        while self.peek(0).is_some_and(|c| c != '\n') {
            text.push(self.blank());
        }
        self.comments.push(Fragment { line, text });
    }

    /// Block comments nest.
    fn block_comment(&mut self) {
        let first_line = self.line;
        let mut text = String::new();
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    text.push(self.blank());
                    continue;
                }
            }
            text.extend([self.blank(), self.blank()]);
            if depth == 0 {
                break;
            }
        }
        let lines = text.lines().enumerate();
        self.comments.extend(lines.map(|(below, text)| Fragment { line: first_line + below, text: text.to_owned() }));
    }

    fn string(&mut self) {
        self.keep();
        let line = self.line;
        let mut text = String::new();
        while self.peek(0).is_some_and(|c| c != '"') {
            let escape = self.blank();
            text.push(escape);
            if escape == '\\' && self.peek(0).is_some() {
                text.push(self.blank());
            }
        }
        self.close(line, text);
    }

    fn raw_string(&mut self, hashes: usize) {
        for _ in 0..=hashes {
            self.keep();
        }
        let line = self.line;
        let mut text = String::new();
        while self.peek(0).is_some() && !self.closes_raw(hashes) {
            text.push(self.blank());
        }
        self.close(line, text);
    }

    fn closes_raw(&self, hashes: usize) -> bool {
        self.peek(0) == Some('"') && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'))
    }

    /// Ends a literal; the hashes of a raw one follow as ordinary code.
    fn close(&mut self, line: usize, text: String) {
        if self.peek(0).is_some() {
            self.keep();
        }
        self.literals.push(Fragment { line, text });
    }

    /// A character literal or a lifetime: only the first has a second quote.
    fn quote(&mut self) {
        let escaped = self.peek(1) == Some('\\');
        let literal = escaped || (self.peek(2) == Some('\'') && self.peek(1) != Some('\''));
        self.keep();
        if !literal {
            return;
        }
        for _ in 0..if escaped { 2 } else { 1 } {
            if self.peek(0).is_some() {
                self.blank();
            }
        }
        while self.peek(0).is_some_and(|c| c != '\'') {
            self.blank();
        }
        if self.peek(0).is_some() {
            self.keep();
        }
    }

    /// An identifier or a number, or the prefix of a raw string.
    fn word(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.keep();
        }
        let raw_prefix = matches!(self.text[start..self.at], ['r'] | ['b' | 'c', 'r']);
        let hashes = self.text[self.at..].iter().take_while(|&&c| c == '#').count();
        if raw_prefix && self.peek(hashes) == Some('"') {
            self.raw_string(hashes);
        }
    }
}

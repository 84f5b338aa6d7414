//! Targets for fuzzing: each is a plain function that takes bytes as a hostile sender could have sent them, and
//! panics where something does not hold. What drives them is another matter: [`mutate`] in the gate and wherever
//! there is no more, libFuzzer (`fuzz/guided`) where it can be built.

mod definition;
mod expression;
mod headers;
mod http;
pub mod mutate;

/// Something that bytes can be thrown at.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of the folder with its corpus.
    pub name: &'static str,
    /// Panics where the bytes make something go wrong.
    pub run: fn(&[u8]),
    /// The most bytes that are thrown at once: a little more than is taken where that is short, less where it is long.
    pub longest: usize,
    /// Words that mean something to it.
    pub words: &'static [&'static str],
}

/// Every target.
pub const TARGETS: [Target; 4] = [
    Target { name: "definition", run: definition::run, longest: 8 * 1024, words: definition::WORDS },
    Target { name: "expression", run: expression::run, longest: 4 * 1024, words: expression::WORDS },
    Target { name: "headers", run: headers::run, longest: 1024, words: headers::WORDS },
    Target { name: "http", run: http::run, longest: 4 * 1024, words: http::WORDS },
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

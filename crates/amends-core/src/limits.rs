//! The bounds on what Amends takes in. Each has an error that names it where it is enforced.

/// A definition's source, in bytes.
pub const DEFINITION_BYTES: usize = 256 * 1024;
/// The steps of one definition.
pub const STEPS: usize = 100;
/// The pointers of one `redact`.
pub const POINTERS: usize = 100;
/// A saga's input as JSON, in bytes.
pub const INPUT_BYTES: usize = 1024 * 1024;
/// What is kept of a participant's answer, in bytes.
pub const OUTPUT_BYTES: usize = 256 * 1024;
/// The body of a message that a step sends, as JSON, in bytes. What goes with it has its place in 1 MiB, the most that queues take.
pub const MESSAGE_BODY_BYTES: usize = (1 << 20) - (16 << 10);
/// The nesting of a definition, an input or an output.
pub const JSON_DEPTH: usize = 64;
/// A business key, in characters.
pub const KEY_CHARS: usize = 128;
/// A definition's, step's or participant's name, in bytes. Names are ASCII, so these are characters too.
pub const NAME_BYTES: usize = 64;
/// A reason or a piece of evidence given by a person, in bytes.
pub const REASON_BYTES: usize = 4 * 1024;

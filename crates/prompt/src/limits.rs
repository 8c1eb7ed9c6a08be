//! Bounds of what is made.

/// The longest text that is made, in tokens: beyond any context window, and it keeps a slip of the keyboard from taking
/// all memory.
pub const LONGEST: u32 = 10_000_000;

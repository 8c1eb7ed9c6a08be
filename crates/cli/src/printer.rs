//! Prints everything: results to stdout, all else to stderr. No other module prints.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use streamgauge_core::text::{one_line, visible};

/// Columns of a result if neither the environment nor the terminal says how many there are.
const WIDTH: usize = 120;

/// Whether a result could not be written to standard output.
static LOST: AtomicBool = AtomicBool::new(false);

/// Prints. A closed pipe is not an error; a result that is lost for another reason, such as a full disk, is reported once.
///
/// Text may come from a server. So nothing is printed that a terminal would act on: control characters, and characters that are
/// invisible or change the direction of text, are shown as their numbers ([`visible`]), and a line stays one line.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    terminal: bool,
}

impl Printer {
    pub fn new() -> Printer {
        Printer { terminal: std::io::stderr().is_terminal() }
    }

    /// Whether standard error is a terminal, so that a progress bar can be shown.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The width of results in columns: from the environment (`COLUMNS`) or the terminal, else [`WIDTH`].
    pub fn width(&self) -> usize {
        let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
        let terminal = || {
            let size = terminal_size::terminal_size_of(std::io::stdout());
            size.map(|(width, _)| usize::from(width.0))
        };
        named.filter(|columns| *columns > 0).or_else(terminal).unwrap_or(WIDTH)
    }

    /// Prints a result.
    pub fn result(&self, text: &str) {
        self.exactly(&format!("{}\n", text.trim_end_matches('\n')));
    }

    /// Prints a result whose every blank and line end is part of it.
    pub fn exactly(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(visible(text).as_bytes()).and_then(|()| out.flush());
        if let Err(error) =
            written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
            && !LOST.swap(true, Ordering::Relaxed)
        {
            self.error(&format!("standard output cannot be written: {error}"));
        }
    }

    /// Whether a result could not be written to standard output, which has then been reported.
    pub fn has_lost_results(&self) -> bool {
        LOST.load(Ordering::Relaxed)
    }

    /// Prints something worth knowing, on one line.
    pub fn note(&self, text: &str) {
        self.lines(&one_line(text));
    }

    /// Prints the same on several lines. The text must not come from a server.
    pub fn lines(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", visible(text));
    }

    /// Prints why a command cannot go on.
    pub fn error(&self, text: &str) {
        self.note(&format!("error: {text}"));
    }
}

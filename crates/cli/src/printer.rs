//! Everything that is said: results on stdout, all else on stderr. The only room that prints.

use std::io::{ErrorKind, IsTerminal, Write};

/// Says things. A reader that went away (a closed pipe) is no error; a result that is lost otherwise (a full disk) is said.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    terminal: bool,
}

impl Printer {
    pub fn new() -> Printer {
        Printer { terminal: std::io::stderr().is_terminal() }
    }

    /// Whether stderr is a terminal, so that a progress bar makes sense.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A result.
    pub fn result(&self, text: &str) {
        self.exactly(&format!("{}\n", text.trim_end_matches('\n')));
    }

    /// A result whose every blank and line end is part of it.
    pub fn exactly(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                self.error(&format!("standard output cannot be written: {error}"));
            }
            _ => {}
        }
    }

    /// Something worth knowing on the way.
    pub fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Why a command cannot go on.
    pub fn error(&self, text: &str) {
        self.note(&format!("error: {text}"));
    }
}

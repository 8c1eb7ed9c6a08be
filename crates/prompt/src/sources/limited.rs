//! A bound on what one row of a table takes.

use super::lines::LONGEST_LINE;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes may still be read for the row that is being read.
#[derive(Clone)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// So many bytes.
    pub fn new(bytes: u64) -> Allowance {
        Allowance(Arc::new(AtomicU64::new(bytes)))
    }

    /// A row begins.
    pub fn renew(&self) {
        self.0.store(LONGEST_LINE, Ordering::Relaxed);
    }
}

/// Reads at most as many bytes for one row as are allowed: a quotation mark that is never closed makes all of the file one value.
pub(super) struct Limited<R> {
    reader: R,
    left: Allowance,
}

impl<R> Limited<R> {
    /// `reader` within `left`.
    pub fn new(reader: R, left: &Allowance) -> Limited<R> {
        Limited { reader, left: left.clone() }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.0.load(Ordering::Relaxed);
        let Some(left) = left.checked_sub(read as u64) else {
            let most = LONGEST_LINE >> 20;
            return Err(io::Error::other(format!("a row is longer than {most} MiB; is a quotation mark not closed?")));
        };
        self.left.0.store(left, Ordering::Relaxed);
        Ok(read)
    }
}

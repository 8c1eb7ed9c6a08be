//! Sums over time in bounded memory: bins of equal width, which is doubled when there would be too many bins.

use std::collections::VecDeque;
use std::ops::AddAssign;
use streamgauge_core::Nanos;

/// Sums of type `T` by time, in at most `MOST` bins. The same additions in any order, and in any parts that are merged, give the same
/// bins.
#[derive(Clone, Debug)]
pub(crate) struct TimeBins<T, const MOST: usize> {
    /// A bin is 2^shift nanoseconds wide and begins at a multiple of that width.
    pub shift: u32,
    /// The number of the first bin.
    pub first: i64,
    /// The sums, from the first used bin to the last.
    pub bins: VecDeque<T>,
}

impl<T: Copy + Default + AddAssign, const MOST: usize> TimeBins<T, MOST> {
    /// Returns empty bins, with all their memory allocated. The finest bins are 2^`finest` nanoseconds wide.
    pub fn with_finest(finest: u32) -> TimeBins<T, MOST> {
        TimeBins { shift: finest, first: 0, bins: VecDeque::with_capacity(MOST) }
    }

    /// Adds the sums of other bins.
    pub fn merge(&mut self, other: &TimeBins<T, MOST>) {
        self.widen_to(other.shift);
        for (at, sum) in other.iter() {
            *self.bin(at) += sum;
        }
    }

    /// Makes bins at least 2^`shift` nanoseconds wide.
    pub fn widen_to(&mut self, shift: u32) {
        while self.shift < shift {
            self.coarsen();
        }
    }

    /// The beginning and the sum of each bin, in the order of time.
    pub fn iter(&self) -> impl Iterator<Item = (Nanos, T)> {
        self.bins.iter().enumerate().map(|(index, &sum)| (Nanos((self.first + index as i64) << self.shift), sum))
    }

    /// The bin that contains a time.
    pub fn bin(&mut self, at: Nanos) -> &mut T {
        while !self.reach(at.0 >> self.shift) {
            self.coarsen();
        }
        let index = (at.0 >> self.shift) - self.first;
        &mut self.bins[index as usize]
    }

    /// Makes room for the bin. Returns false if there would be too many bins.
    fn reach(&mut self, index: i64) -> bool {
        if self.bins.is_empty() {
            self.first = index;
        }
        let end = self.first + self.bins.len() as i64;
        if index.max(end - 1) - index.min(self.first) >= MOST as i64 {
            return false;
        }
        (index..self.first).for_each(|_| self.bins.push_front(T::default()));
        self.first = self.first.min(index);
        (end..=index).for_each(|_| self.bins.push_back(T::default()));
        true
    }

    fn coarsen(&mut self) {
        let first = self.first >> 1;
        let count = self.bins.len();
        for index in 0..count {
            let sum = std::mem::take(&mut self.bins[index]);
            let to = ((self.first + index as i64) >> 1) - first;
            self.bins[to as usize] += sum;
        }
        let last = (self.first + count as i64 - 1) >> 1;
        self.bins.truncate((last - first + 1) as usize);
        (self.shift, self.first) = (self.shift + 1, first);
    }
}

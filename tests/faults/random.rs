//! Numbers that look random and can be had again: the same seed gives the same ones.

use std::time::Duration;

/// SplitMix64: small, and good enough to choose moments and actions.
#[derive(Debug, Clone)]
pub struct Random(u64);

/// A seed that nobody had before.
pub fn seed() -> u64 {
    u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64
}

impl Random {
    /// Begins a series.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A series of its own for somebody, that depends on nobody else's.
    pub fn for_part(seed: u64, part: u64) -> Self {
        let mut mixed = Self(seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed.next();
        mixed
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A span between two numbers of milliseconds.
    pub fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1_000 + self.below((to - from) * 1_000))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

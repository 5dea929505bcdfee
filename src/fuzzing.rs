//! What must hold for any bytes that come from outside: one function for each reader of such bytes, which panics where it does not.
//!
//! The same functions are run twice. `make fuzz` runs them under libFuzzer, which watches the branches taken and looks for new ones, for as
//! long as one likes; each file in `fuzz/targets` is one of them. The short run in [`short`] is an ordinary test: every seed in `fuzz/seeds`
//! and many changes of each, made by a generator that makes the same ones every time. The functions live with the layers whose readers they
//! try, since most of those are private. Nothing here is part of the program.

mod texts;

#[cfg(test)]
pub mod short;

pub use crate::{
    media::fuzzing::check as media,
    web::fuzzing::{api, headers, multipart, query},
};
pub use texts::check as texts;

/// A check of one input.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also the name of its folder of seeds.
pub const TARGETS: [(&str, Check); 6] =
    [("api", api), ("headers", headers), ("media", media), ("multipart", multipart), ("query", query), ("texts", texts)];

/// The next so many bytes of an input, or fewer at its end.
pub(crate) fn take<'data>(data: &mut &'data [u8], most: usize) -> &'data [u8] {
    let (taken, rest) = data.split_at(most.min(data.len()));
    *data = rest;
    taken
}

/// A number of up to eight bytes, the lowest first; bytes beyond the end are zeros.
pub(crate) fn number(data: &mut &[u8], bytes: usize) -> u64 {
    take(data, bytes.min(8)).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same as a length.
pub(crate) fn length(data: &mut &[u8], bytes: usize) -> usize {
    usize::try_from(number(data, bytes)).unwrap_or(usize::MAX)
}

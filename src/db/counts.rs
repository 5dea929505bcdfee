//! What was counted a moment ago, and need not be counted again for the next page of the same list.
//!
//! A number counts until anything is written through this process; what other processes write into the same database is seen two seconds
//! later. That a list is too long to be counted is believed a little longer: no list of ten thousand becomes short at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a number is believed that nothing here has changed.
const BELIEVED: Duration = Duration::from_secs(2);
/// How long it is believed that there are more than were counted.
const MORE_BELIEVED: Duration = Duration::from_secs(10);
/// Lists whose numbers are kept.
const KEPT: usize = 1_000;

/// The numbers of one database. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    written: AtomicU64,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    number: i64,
    most: i64,
    written: u64,
    at: Instant,
}

impl Known {
    fn holds(&self, written: u64) -> bool {
        let age = self.at.elapsed();
        (self.number >= self.most && age < MORE_BELIEVED) || (self.written == written && age < BELIEVED)
    }
}

impl Counts {
    /// Something was written: what was counted before may be wrong now.
    pub fn written(&self) {
        self.0.written.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of this list, counted up to `most` if it is not known.
    pub fn of<E>(&self, list: String, most: i64, count: impl FnOnce() -> Result<i64, E>) -> Result<i64, E> {
        // Before counting: what is written meanwhile makes the number old at once.
        let written = self.0.written.load(Ordering::Acquire);
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner).get(&list).copied();
        if let Some(known) = known.filter(|known| known.most == most && known.holds(written)) {
            return Ok(known.number);
        }
        let number = count()?;
        let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.retain(|_, known| known.holds(written));
            if all.len() >= KEPT {
                all.clear();
            }
        }
        all.insert(list, Known { number, most, written, at: Instant::now() });
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(counts: &Counts, list: &str, now: i64, most: i64) -> i64 {
        counts.of::<()>(list.to_owned(), most, || Ok(now.min(most))).unwrap()
    }

    #[test]
    fn a_number_holds_until_something_is_written() {
        let counts = Counts::default();
        assert_eq!(ask(&counts, "a", 3, 10), 3);
        assert_eq!(ask(&counts, "a", 4, 10), 3);
        assert_eq!(ask(&counts, "b", 4, 10), 4);
        counts.written();
        assert_eq!(ask(&counts, "a", 5, 10), 5);
        assert_eq!(ask(&counts, "a", 6, 5), 5, "another bound is another question");
    }

    #[test]
    fn too_many_stay_too_many_for_a_while() {
        let counts = Counts::default();
        assert_eq!(ask(&counts, "a", 12, 10), 10);
        counts.written();
        assert_eq!(ask(&counts, "a", 9, 10), 10);
    }

    #[test]
    fn what_is_written_while_counting_makes_the_number_old() {
        let counts = Counts::default();
        let counted = counts.of::<()>("a".to_owned(), 10, || {
            counts.written();
            Ok(3)
        });
        assert_eq!(counted, Ok(3));
        assert_eq!(ask(&counts, "a", 4, 10), 4);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let counts = Counts::default();
        for n in 0..3 * KEPT {
            ask(&counts, &n.to_string(), 1, 10);
        }
        assert!(counts.0.known.lock().unwrap().len() <= KEPT);
    }
}

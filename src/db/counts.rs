//! What was counted a moment ago, and need not be counted again for the next page of the same list.
//!
//! A number counts until anything is written through this process; what other processes write into the same database is seen two seconds
//! later. What takes long to count, and that a list is too long to be counted, is believed a little longer: no list of ten thousand becomes
//! short at once. Whoever asks for a number that somebody is counting waits for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Lists whose numbers are kept.
const KEPT: usize = 1_000;

/// What a search finds many of.
const MANY: i64 = 1_500;

/// How long a number is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Until something is written here, at most two seconds.
    Exact,
    /// So where there are few; ten seconds where there are many, for these are found one by one.
    Search,
    /// Ten seconds, whatever is written: counting looks at much. Except that there is none: that is believed as [`Belief::Exact`].
    Costly,
    /// A minute: it only decides which way is the shorter one.
    Hint,
}

impl Belief {
    const fn lasts(self) -> Duration {
        match self {
            Self::Exact | Self::Search => Duration::from_secs(2),
            Self::Costly => Duration::from_secs(10),
            Self::Hint => Duration::from_secs(60),
        }
    }
}

/// The numbers of one database. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    written: AtomicU64,
    known: Mutex<HashMap<String, Arc<Mutex<Option<Known>>>>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    number: i64,
    most: i64,
    written: u64,
    at: Instant,
}

impl Known {
    fn holds(&self, most: i64, belief: Belief, written: u64) -> bool {
        let belief = match belief {
            Belief::Exact | Belief::Search if self.number >= self.most => Belief::Costly,
            Belief::Search if self.number > MANY => Belief::Costly,
            Belief::Search => Belief::Exact,
            // That there is none must not hide the first one.
            Belief::Costly if self.number == 0 => Belief::Exact,
            other => other,
        };
        let unwritten = self.written == written || belief != Belief::Exact;
        self.most == most && unwritten && self.at.elapsed() < belief.lasts()
    }
}

impl Counts {
    /// Something was written: what was counted before may be wrong now.
    pub fn written(&self) {
        self.0.written.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of this list, counted up to `most` if it is not known.
    pub fn of<E>(&self, list: String, most: i64, belief: Belief, count: impl FnOnce() -> Result<i64, E>) -> Result<i64, E> {
        let place = {
            let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= KEPT {
                all.clear();
            }
            all.entry(list).or_default().clone()
        };
        let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
        // Before counting: what is written meanwhile makes the number old at once.
        let written = self.0.written.load(Ordering::Acquire);
        if let Some(known) = known.filter(|known| known.holds(most, belief, written)) {
            return Ok(known.number);
        }
        let number = count()?;
        *known = Some(Known { number, most, written, at: Instant::now() });
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(counts: &Counts, list: &str, now: i64, most: i64) -> i64 {
        counts.of::<()>(list.to_owned(), most, Belief::Exact, || Ok(now.min(most))).unwrap()
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
        let counted = counts.of::<()>("a".to_owned(), 10, Belief::Exact, || {
            counts.written();
            Ok(3)
        });
        assert_eq!(counted, Ok(3));
        assert_eq!(ask(&counts, "a", 4, 10), 4);
    }

    #[test]
    fn what_takes_long_to_count_is_counted_seldom() {
        let counts = Counts::default();
        let costly = |now| counts.of::<()>("a".to_owned(), 10, Belief::Costly, || Ok(now)).unwrap();
        assert_eq!(costly(3), 3);
        counts.written();
        assert_eq!(costly(4), 3);
        assert_eq!(ask(&counts, "a", 5, 10), 5, "who needs it exact counts again");
    }

    #[test]
    fn that_there_is_none_is_believed_until_something_is_written() {
        let counts = Counts::default();
        let costly = |now| counts.of::<()>("a".to_owned(), 10, Belief::Costly, || Ok(now)).unwrap();
        assert_eq!(costly(0), 0);
        assert_eq!(costly(1), 0);
        counts.written();
        assert_eq!(costly(1), 1);
    }

    #[test]
    fn many_who_ask_at_once_count_once() {
        let (counts, counted) = (Counts::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    counts.of::<()>("a".to_owned(), 10, Belief::Exact, || {
                        std::thread::sleep(Duration::from_millis(20));
                        Ok(i64::try_from(counted.fetch_add(1, Ordering::Relaxed)).unwrap())
                    })
                });
            }
        });
        assert_eq!(counted.load(Ordering::Relaxed), 1);
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

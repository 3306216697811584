//! How often memory is looked at.

use std::time::Duration;

/// The time between two looks at memory: 1 ms to 60 s, 100 ms unless set.
///
/// A look at one process takes some tens of microseconds, so that the default costs a core well below a thousandth
/// of its time for a handful of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// A time that is no sampling interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sampling interval of {given:?} is outside 1 ms to 60 s")]
pub struct IntervalError {
    given: Duration,
}

impl Interval {
    /// The shortest one: more often, and looking would take a share of the time that shows in what is measured.
    pub const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest one: more seldom, and nothing is sampled at all in the runs that this is for.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// Wraps a time.
    ///
    /// # Errors
    ///
    /// When it is outside [`Self::SHORTEST`] to [`Self::LONGEST`].
    pub fn new(given: Duration) -> Result<Self, IntervalError> {
        if (Self::SHORTEST..=Self::LONGEST).contains(&given) {
            Ok(Self(given))
        } else {
            Err(IntervalError { given })
        }
    }

    /// Returns the time itself.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// Returns the time in nanoseconds.
    pub(crate) fn nanoseconds(self) -> u64 {
        u64::try_from(self.0.as_nanos()).expect("60 s are far below 2^64 ns")
    }
}

impl Default for Interval {
    /// Returns 100 ms.
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_lies_between_a_millisecond_and_a_minute() {
        for (given, refused) in [
            (Duration::ZERO, Some("0ns")),
            (Duration::from_micros(999), Some("999µs")),
            (Duration::from_millis(1), None),
            (Duration::from_secs(60), None),
            (Duration::from_millis(60_001), Some("60.001s")),
        ] {
            match (Interval::new(given), refused) {
                (Ok(interval), None) => assert_eq!(interval.duration(), given),
                (Err(error), Some(text)) => assert_eq!(
                    error.to_string(),
                    format!("a sampling interval of {text} is outside 1 ms to 60 s")
                ),
                (answer, _) => panic!("{given:?} gave {answer:?}"),
            }
        }
        assert_eq!(Interval::default().nanoseconds(), 100_000_000);
    }
}

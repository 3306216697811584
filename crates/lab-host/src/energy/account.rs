//! How the numbers that a source gives become one count of microjoules that only rises.

use std::time::Duration;

/// What a source's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Energy in microjoules since some origin, starting again at 0 after `range_uj`.
    WrappingEnergy(Wrap),
    /// Energy in microjoules since some origin, which never wraps.
    RisingEnergy,
    /// Power at the moment, in microwatts.
    Power,
}

/// What tells a wrap from a counter that was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrap {
    /// The greatest value of the counter, in microjoules. The modulus is one step more; leaving that out costs 61 uJ a
    /// wrap of RAPL, in 262 kJ.
    pub range_uj: u64,
    /// More power than the metered device can draw, in microwatts.
    pub greatest_uw: u64,
    /// How far the counter may lag behind.
    pub update: Duration,
}

impl Wrap {
    /// No counter is left alone for longer, however slowly it wraps.
    const LONGEST_GAP: Duration = Duration::from_secs(60);

    /// Returns half the time in which the counter could wrap, but at most a minute.
    pub(super) fn longest_gap(self) -> Duration {
        let half_ns = u128::from(self.range_uj) * 1_000_000_000 / (2 * u128::from(self.greatest_uw.max(1)));
        u64::try_from(half_ns).map_or(Self::LONGEST_GAP, Duration::from_nanos).min(Self::LONGEST_GAP)
    }

    /// Tells whether the device could have used this much energy in this time.
    fn is_possible(self, used_uj: u64, elapsed_ns: u64) -> bool {
        let nanoseconds = u128::from(elapsed_ns) + self.update.as_nanos();
        u128::from(used_uj) <= u128::from(self.greatest_uw) * nanoseconds / 1_000_000_000
    }
}

/// A count that rises with every number taken in.
#[derive(Debug)]
pub(super) struct Account {
    quantity: Quantity,
    last: Option<Taken>,
    /// Since the first number, in half femtojoules: the sum of two powers in microwatts times nanoseconds is exact, and
    /// no sampling rate loses fractions.
    total_half_fj: u128,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    at_ns: u64,
    number: u64,
}

const HALF_FJ_PER_UJ: u128 = 2_000_000_000;

impl Account {
    pub(super) fn new(quantity: Quantity) -> Self {
        Self { quantity, last: None, total_half_fj: 0 }
    }

    /// Takes a number in and returns the microjoules since the first one.
    ///
    /// # Errors
    ///
    /// How the number contradicts the one before it, as a fragment that follows the name of the source.
    pub(super) fn take(&mut self, at_ns: u64, number: u64) -> Result<u64, String> {
        let now = Taken { at_ns, number };
        let before = self.last.replace(now).unwrap_or(now);
        self.total_half_fj += self.since(before, now)?;
        Ok(u64::try_from(self.total_half_fj / HALF_FJ_PER_UJ).unwrap_or(u64::MAX))
    }

    fn since(&self, before: Taken, now: Taken) -> Result<u128, String> {
        let elapsed_ns = now.at_ns.saturating_sub(before.at_ns);
        let backwards = || format!("went backwards, from {} to {}", before.number, now.number);
        let used_uj = match (self.quantity, now.number.checked_sub(before.number)) {
            // The trapezoid rule, which is exact where power changes evenly between two readings.
            (Quantity::Power, _) => {
                return Ok((u128::from(before.number) + u128::from(now.number)) * u128::from(elapsed_ns));
            }
            // A machine that slept counts on while the clock stands still.
            (Quantity::WrappingEnergy(wrap), Some(used_uj)) if !wrap.is_possible(used_uj, elapsed_ns) => {
                let leap = format!("leapt from {} to {}", before.number, now.number);
                return Err(format!("{leap}: {}", wrap.why_not(elapsed_ns)));
            }
            (_, Some(used_uj)) => used_uj,
            (Quantity::RisingEnergy, None) => return Err(backwards()),
            (Quantity::WrappingEnergy(wrap), None) => {
                let used_uj = wrap.range_uj.checked_sub(before.number).map(|rest| rest + now.number);
                let possible = used_uj.filter(|used_uj| wrap.is_possible(*used_uj, elapsed_ns));
                possible.ok_or_else(|| {
                    format!("{}, which is no wrap: {}", backwards(), wrap.why_not(elapsed_ns))
                })?
            }
        };
        Ok(u128::from(used_uj) * HALF_FJ_PER_UJ)
    }
}

impl Wrap {
    fn why_not(self, elapsed_ns: u64) -> String {
        format!(
            "in {} ms no more than {} W can be drawn, and the counter ends at {} uJ",
            elapsed_ns / 1_000_000,
            self.greatest_uw / 1_000_000,
            self.range_uj
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const WRAP: Wrap =
        Wrap { range_uj: 10_000_000, greatest_uw: 100_000_000, update: Duration::from_millis(1) };

    /// Takes all numbers in and returns what the last one led to.
    fn total(quantity: Quantity, numbers: &[(u64, u64)]) -> Result<u64, String> {
        let mut account = Account::new(quantity);
        numbers.iter().try_fold(0, |_, (ms, number)| account.take(ms * MS, *number))
    }

    #[test]
    fn a_wrap_goes_on_counting_where_it_left_off() {
        let wrapping = Quantity::WrappingEnergy(WRAP);
        let numbers = [(0, 9_000_000), (100, 9_900_000), (200, 1_000_000), (300, 9_950_000), (400, 50_000)];
        assert_eq!(total(wrapping, &numbers), Ok(900_000 + 1_100_000 + 8_950_000 + 100_000));
    }

    #[test]
    fn a_step_back_that_no_wrap_explains_is_an_error() {
        let wrapping = Quantity::WrappingEnergy(WRAP);
        assert_eq!(
            total(wrapping, &[(0, 1_000_000), (10, 500_000)]).unwrap_err(),
            "went backwards, from 1000000 to 500000, which is no wrap: in 10 ms no more than 100 W can be drawn, \
             and the counter ends at 10000000 uJ"
        );
        // Beyond its own range, as after a driver was loaded anew.
        assert!(total(wrapping, &[(0, 11_000_000), (1000, 5)]).is_err());
        assert_eq!(
            total(Quantity::RisingEnergy, &[(0, 7), (10, 5)]).unwrap_err(),
            "went backwards, from 7 to 5"
        );
    }

    #[test]
    fn the_bound_of_a_wrap_is_the_greatest_power_over_the_time_and_one_update() {
        // 100 W over 9 ms and an update of 1 ms are 1 J.
        let wrapping = Quantity::WrappingEnergy(WRAP);
        assert_eq!(total(wrapping, &[(0, 9_500_000), (9, 500_000)]), Ok(1_000_000));
        assert!(total(wrapping, &[(0, 9_500_000), (9, 500_001)]).is_err());
    }

    #[test]
    fn power_is_summed_up_by_trapezoids_without_losing_fractions() {
        assert_eq!(total(Quantity::Power, &[(0, 10_000_000), (500, 20_000_000), (1000, 0)]), Ok(12_500_000));
        let mut account = Account::new(Quantity::Power);
        let totals: Vec<_> = (0..=3_000_000_u64).map(|n| account.take(n * 333, 1_000_000).unwrap()).collect();
        assert_eq!(totals.last(), Some(&999_000));
    }

    #[test]
    fn a_counter_may_be_left_alone_for_half_a_wrap_and_for_a_minute_at_most() {
        assert_eq!(WRAP.longest_gap(), Duration::from_millis(50));
        assert_eq!(Wrap { range_uj: 262_143_328_850, ..WRAP }.longest_gap(), Duration::from_secs(60));
        assert_eq!(Wrap { greatest_uw: 0, ..WRAP }.longest_gap(), Duration::from_secs(60));
    }
}

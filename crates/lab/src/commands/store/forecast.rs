//! For how long the room lasts: the rate of the last days, carried on.

use jiff::SignedDuration;
use jiff::civil::Date;
use lab_core::metric::Reading;
use lab_formats::store_json::{ForecastBlock, ReachBlock};
use lab_store::DayUsage;

/// Days that the rate is taken over, the present one included: a week has every day of the week once.
pub(super) const OVER_DAYS: usize = 7;

const HOURS_A_DAY: i64 = 24;

/// The room that a store has.
pub(super) struct Room {
    /// Bytes of its file.
    pub(super) bytes: u64,
    /// Bytes that may still be written to its disk.
    pub(super) free: Reading<u64>,
    /// Bytes that its file is to stay below.
    pub(super) limit: Option<u64>,
}

/// Foresees when the disk is full and the limit reached, if the store grows on as in the last days.
pub(super) fn forecast(days: &[DayUsage], today: Date, room: Room) -> ForecastBlock {
    let age = |day: Date| today.duration_since(day).as_hours() / HOURS_A_DAY;
    let window = i64::try_from(OVER_DAYS).expect("a week has few days");
    // A store that is younger than the window has had fewer days to grow in.
    let over = days.first().map_or(window, |first| (age(first.day) + 1).clamp(1, window)).unsigned_abs();
    let recent = days.iter().filter(|own| (0..window).contains(&age(own.day)));
    let bytes_per_day = recent.map(|own| own.bytes).sum::<u64>() / over;
    let Room { bytes, free, limit } = room;
    let reach = |left: u64| reach(left, bytes_per_day, today);
    let full = match &free {
        Reading::Value(free) => reach(*free),
        Reading::Unavailable(_) => None,
    };
    let limit_reached = limit.and_then(|limit| reach(limit.saturating_sub(bytes)));
    ForecastBlock {
        over_days: over,
        bytes_per_day,
        free_bytes: free,
        full,
        limit_bytes: limit,
        limit: limit_reached,
    }
}

/// Returns when so many bytes are used up; nothing where nothing uses them.
fn reach(left: u64, bytes_per_day: u64, today: Date) -> Option<ReachBlock> {
    let in_days = match (left, bytes_per_day) {
        (0, _) => 0,
        (_, 0) => return None,
        (left, rate) => left / rate,
    };
    let on = i64::try_from(in_days)
        .ok()
        .and_then(|days| days.checked_mul(HOURS_A_DAY * 3_600))
        .and_then(|seconds| today.checked_add(SignedDuration::from_secs(seconds)).ok())
        .map(|day| day.to_string());
    Some(ReachBlock { in_days, on })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn day(day: i8, bytes: u64) -> DayUsage {
        DayUsage { day: date(2026, 3, day), sessions: 1, bytes }
    }

    fn foresee(days: &[DayUsage], free: u64, limit: Option<u64>) -> ForecastBlock {
        forecast(days, date(2026, 3, 10), Room { bytes: 1_000, free: Reading::Value(free), limit })
    }

    fn reached(in_days: u64, on: &str) -> Option<ReachBlock> {
        Some(ReachBlock { in_days, on: Some(on.to_owned()) })
    }

    #[test]
    fn the_rate_is_that_of_the_last_seven_days() {
        // The 3rd is the eighth day back.
        let block = foresee(&[day(1, 9_999), day(3, 9_999), day(4, 700), day(10, 700)], 2_100, Some(1_450));
        assert_eq!((block.over_days, block.bytes_per_day), (7, 200));
        assert_eq!(block.full, reached(10, "2026-03-20"));
        assert_eq!(block.limit, reached(2, "2026-03-12"));
    }

    #[test]
    fn a_young_store_has_had_fewer_days() {
        let block = foresee(&[day(9, 300), day(10, 100)], 1_000, None);
        assert_eq!((block.over_days, block.bytes_per_day, block.limit), (2, 200, None));
        assert_eq!(block.full, reached(5, "2026-03-15"));
    }

    #[test]
    fn what_does_not_grow_reaches_nothing_and_what_is_over_has_reached_it() {
        let block = foresee(&[day(1, 500)], 1_000, Some(5_000));
        assert_eq!((block.bytes_per_day, block.full, block.limit), (0, None, None));
        let block = foresee(&[], 0, Some(999));
        assert_eq!(block.full, reached(0, "2026-03-10"));
        assert_eq!(block.limit, reached(0, "2026-03-10"));
    }

    #[test]
    fn a_day_beyond_the_calendar_is_not_named_and_an_unknown_disk_is_not_foreseen() {
        let block = foresee(&[day(10, 1)], u64::MAX, None);
        assert_eq!(block.full, Some(ReachBlock { in_days: u64::MAX, on: None }));
        let free = Reading::Unavailable("no answer".to_owned());
        let block = forecast(&[day(10, 1)], date(2026, 3, 10), Room { bytes: 1, free, limit: None });
        assert_eq!(block.full, None);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_divide_by_nothing() {
        let block = foresee(&[day(12, 700)], 1_000, None);
        assert_eq!((block.over_days, block.bytes_per_day), (1, 0));
    }
}

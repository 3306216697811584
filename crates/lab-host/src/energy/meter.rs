//! A meter made of a gauge and an account, whatever the source.

use std::time::Duration;

use lab_core::clock::{Clock as _, nanoseconds};
use lab_core::energy::{EnergyMeter, EnergyReading, MeterError, MeterInfo, MeterKind};

use super::account::{Account, Quantity};
use crate::clock::Monotonic;
use crate::{Roots, Unavailable};

/// Meters of one source, to be summed up.
pub(super) type Meters = Vec<Box<dyn EnergyMeter>>;

/// Reads one number, microjoules or microwatts; an error names the source.
pub(super) type Gauge = Box<dyn FnMut() -> Result<u64, Unavailable> + Send>;

/// What a source says of one of its counters.
pub(super) struct Description {
    /// Its name, such as `rapl package-0`.
    pub source: String,
    /// What its numbers are.
    pub quantity: Quantity,
    /// The smallest step of a counter of energy, in microjoules.
    pub quantum_uj: u64,
    /// The time between two updates of the number.
    pub update: Duration,
}

impl Description {
    /// Returns the description as sessions record it.
    fn info(&self, kind: MeterKind) -> MeterInfo {
        let longest_gap = match self.quantity {
            Quantity::WrappingEnergy(wrap) => Some(wrap.longest_gap()),
            Quantity::RisingEnergy | Quantity::Power => None,
        };
        MeterInfo {
            source: self.source.clone(),
            kind,
            quantum_uj: self.quantum_uj,
            update_ns: nanoseconds(self.update),
            integrated: self.quantity == Quantity::Power,
            longest_gap_ns: longest_gap.map(nanoseconds),
        }
    }
}

/// Opens a meter of what a sensor measured. The first reading is taken at once: it is the origin, and shows whether
/// the source may be read at all.
///
/// # Errors
///
/// Why the gauge gave no number.
pub(super) fn measured(description: &Description, gauge: Gauge) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    paced(description, MeterKind::Measured, Duration::ZERO, gauge)
}

/// Opens a meter that wants to be left alone for an interval after each reading.
///
/// # Errors
///
/// Why the gauge gave no number.
pub(super) fn paced(
    description: &Description,
    kind: MeterKind,
    interval: Duration,
    gauge: Gauge,
) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let account = Account::new(description.quantity);
    let interval_ns = nanoseconds(interval);
    let mut meter = GaugeMeter { info: description.info(kind), gauge, account, interval_ns, due_ns: 0 };
    meter.read().map_err(|MeterError(reason)| Unavailable::new(reason))?;
    Ok(Box::new(meter))
}

/// Returns the name of a source that is read below the roots. A fixture shows in the name, so that its figures never
/// pass for those of hardware.
pub(super) fn name(roots: &Roots, source: &str) -> String {
    match roots.are_this_machine() {
        true => source.to_owned(),
        false => format!("{source} below {}", roots.sys.display()),
    }
}

struct GaugeMeter {
    info: MeterInfo,
    gauge: Gauge,
    account: Account,
    interval_ns: u64,
    due_ns: u64,
}

impl EnergyMeter for GaugeMeter {
    fn about(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self) -> Result<EnergyReading, MeterError> {
        let before_ns = Monotonic.now_ns();
        let number = (self.gauge)();
        let after_ns = Monotonic.now_ns();
        self.due_ns = before_ns.saturating_add(self.interval_ns);
        let number = number.map_err(|Unavailable { reason }| MeterError(reason))?;
        let at_ns = before_ns + (after_ns - before_ns) / 2;
        let contradiction = |how| MeterError(format!("`{}` {how}", self.info.source));
        let total_uj = self.account.take(at_ns, number).map_err(contradiction)?;
        Ok(EnergyReading { at_ns, total_uj })
    }

    fn due_ns(&self) -> u64 {
        if self.interval_ns == 0 { 0 } else { self.due_ns }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A gauge that gives these numbers, then says that there are no more.
    fn scripted(numbers: &[u64]) -> Gauge {
        let mut numbers = VecDeque::from(numbers.to_vec());
        Box::new(move || numbers.pop_front().ok_or_else(|| Unavailable::new("the script is at its end")))
    }

    fn description(quantity: Quantity) -> Description {
        Description { source: "plug".to_owned(), quantity, quantum_uj: 1, update: Duration::from_secs(1) }
    }

    #[test]
    fn counting_starts_at_the_opening_and_readings_stand_on_the_monotonic_clock() {
        let mut meter =
            measured(&description(Quantity::RisingEnergy), scripted(&[5_000, 5_000, 7_500])).unwrap();
        let before_ns = Monotonic.now_ns();
        let readings = [meter.read().unwrap(), meter.read().unwrap()];
        assert_eq!(readings.map(|reading| reading.total_uj), [0, 2_500]);
        assert!(readings.iter().all(|reading| (before_ns..=Monotonic.now_ns()).contains(&reading.at_ns)));
        assert_eq!(meter.read(), Err(MeterError("the script is at its end".to_owned())));
        assert_eq!(meter.due_ns(), 0);
    }

    #[test]
    fn a_counter_that_goes_backwards_is_named() {
        let mut meter = measured(&description(Quantity::RisingEnergy), scripted(&[5, 4])).unwrap();
        assert_eq!(meter.read(), Err(MeterError("`plug` went backwards, from 5 to 4".to_owned())));
    }

    #[test]
    fn a_paced_meter_says_when_it_is_due() {
        let before_ns = Monotonic.now_ns();
        let interval = Duration::from_secs(3600);
        let meter =
            paced(&description(Quantity::Power), MeterKind::Estimated, interval, scripted(&[1])).unwrap();
        assert!(meter.due_ns() >= before_ns + 3_600_000_000_000, "{}", meter.due_ns());
        let info = meter.about();
        assert_eq!((info.kind, info.integrated, info.longest_gap_ns), (MeterKind::Estimated, true, None));
    }

    #[test]
    fn a_fixture_shows_in_the_name() {
        assert_eq!(name(&Roots::default(), "rapl package-0"), "rapl package-0");
        assert_eq!(name(&Roots::new("/f/proc", "/f/sys"), "rapl package-0"), "rapl package-0 below /f/sys");
    }
}

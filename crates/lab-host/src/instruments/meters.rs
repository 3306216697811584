//! The meters, shared by all launches, and what they said around one repetition.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lab_core::clock::Clock;
use lab_core::energy::{ActiveWindow, EnergyMeter, EnergyTrace, MeterInfo};
use lab_core::metric::Reading;

type Shared<T> = Arc<Mutex<T>>;

/// The machine's meters, or the reason why there are none. Clones share the meters. Each has a lock of its own: a slow
/// one holds up no other.
#[derive(Clone)]
pub struct Meters(Reading<Vec<Shared<Box<dyn EnergyMeter>>>>);

impl Meters {
    /// Takes the meters in. Where there are none, the reading says why.
    pub fn new(meters: Reading<Vec<Box<dyn EnergyMeter>>>) -> Self {
        Self(match meters {
            Reading::Value(meters) if meters.is_empty() => {
                Reading::Unavailable("no energy meter was found on this machine".to_owned())
            }
            meters => {
                meters.map(|meters| meters.into_iter().map(|meter| Arc::new(Mutex::new(meter))).collect())
            }
        })
    }

    /// Returns what the meters are.
    pub fn about(&self) -> Reading<Vec<MeterInfo>> {
        self.0.clone().map(|meters| meters.iter().map(|meter| locked(meter).about().clone()).collect())
    }

    /// Reads the meters for some time, ten times a second, and returns that time and the readings around it.
    pub fn record(&self, clock: &dyn Clock, length_ns: u64) -> (ActiveWindow, Reading<Vec<EnergyTrace>>) {
        const EVERY_NS: u64 = 100_000_000;
        let log = EnergyLog::new(self);
        log.read_all();
        let from_ns = clock.now_ns();
        let to_ns = from_ns + length_ns;
        while clock.now_ns() < to_ns {
            clock.wait_until_ns((clock.now_ns() + EVERY_NS).min(to_ns));
            log.read_due(clock.now_ns() + EVERY_NS / 2);
        }
        log.read_all();
        (ActiveWindow { from_ns, to_ns }, log.traces())
    }
}

/// What the meters said around one repetition. Clones share what was written.
#[derive(Clone)]
pub(crate) struct EnergyLog {
    meters: Meters,
    traces: Vec<Shared<EnergyTrace>>,
}

impl EnergyLog {
    /// Returns a log in which no meter has been read.
    pub(crate) fn new(meters: &Meters) -> Self {
        let about = meters.about();
        let traces = about.value().into_iter().flatten().cloned().map(EnergyTrace::new);
        Self { meters: meters.clone(), traces: traces.map(|trace| Arc::new(Mutex::new(trace))).collect() }
    }

    /// Reads every meter, except those that have failed in this repetition.
    pub(crate) fn read_all(&self) {
        self.read(|_meter| true);
    }

    /// Reads the meters that want to be read by this time.
    pub(crate) fn read_due(&self, now_ns: u64) {
        self.read(|meter| meter.due_ns() <= now_ns);
    }

    /// Both locks are held from the reading to its entry, so that the readings of a trace stay in order.
    fn read(&self, is_wanted: impl Fn(&dyn EnergyMeter) -> bool) {
        for (meter, trace) in self.meters.0.value().into_iter().flatten().zip(&self.traces) {
            let (mut meter, mut trace) = (locked(meter), locked(trace));
            if trace.failure.is_none() && is_wanted(meter.as_ref()) {
                // What contradicts a reading before this repetition (a machine that slept in between) is none of its
                // business: the meter goes on from there.
                let reading = match meter.read() {
                    Err(_) if trace.at_ns.is_empty() => meter.read(),
                    reading => reading,
                };
                trace.push(reading);
            }
        }
    }

    /// Returns what was written so far.
    pub(crate) fn traces(&self) -> Reading<Vec<EnergyTrace>> {
        let traces = || self.traces.iter().map(|trace| locked(trace).clone()).collect();
        self.meters.0.clone().map(|_meters| traces())
    }
}

/// A meter that panicked has at worst lost a reading of its own; the others stay of use.
fn locked<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_are_no_meters_the_log_says_why() {
        for (meters, reason) in [
            (Reading::Unavailable("the plan wants none".to_owned()), "the plan wants none"),
            (Reading::Value(Vec::new()), "no energy meter was found on this machine"),
        ] {
            let meters = Meters::new(meters);
            let log = EnergyLog::new(&meters);
            log.read_all();
            assert_eq!(log.traces().reason(), Some(reason));
            assert_eq!(meters.about().reason(), Some(reason));
        }
    }
}

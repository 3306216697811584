//! The sampling thread: looks at meters and machine while the engine runs.
//!
//! Ticks fall on multiples of the period after the start, whatever a tick costs; the first is a whole period after the
//! start, when the engine works. Between ticks the thread sleeps until its deadline or until it is told to stop, and
//! never looks at a flag.

mod gauges;

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab_core::observation::Samples;

pub(crate) use gauges::Gauges;

use crate::Unavailable;
use crate::clock::{monotonic_now, thread_cpu_ns};
use crate::instruments::EnergyLog;

type Seen = Result<Samples, Unavailable>;

/// A sampling thread that runs. Stops when it is dropped.
pub(crate) struct Sampler {
    /// Hanging up is the sign to stop; nothing is ever sent.
    line: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<Seen>>,
}

impl Sampler {
    /// Starts a thread that looks `hz` times a second. Meters are read even where the machine shows nothing.
    ///
    /// # Errors
    ///
    /// When `hz` asks for no thread, or the system gives none.
    pub(crate) fn start(
        hz: f64,
        gauges: Result<Gauges, Unavailable>,
        log: EnergyLog,
    ) -> Result<Self, Unavailable> {
        let period_ns = period_ns(hz).ok_or_else(|| Unavailable::new("the sampling thread is off"))?;
        let (line, stop) = channel();
        let ticks = Ticks { period_ns, next_ns: monotonic_now() + period_ns, stop };
        let work = move || sample(hz, ticks, gauges, &log);
        let thread = thread::Builder::new().name("sampler".to_owned()).spawn(work);
        let refused = |error| Unavailable::new(format!("the sampling thread could not be started: {error}"));
        Ok(Self { line: Some(line), thread: Some(thread.map_err(refused)?) })
    }

    /// Stops the thread at once and returns what it saw of the machine.
    ///
    /// # Errors
    ///
    /// When the machine does not show what the cores do.
    pub(crate) fn stop(mut self) -> Seen {
        let ended = self.halt().expect("the thread is joined here or when dropped, and dropping comes later");
        ended.unwrap_or_else(|_panic| Err(Unavailable::new("the sampling thread panicked")))
    }

    fn halt(&mut self) -> Option<thread::Result<Seen>> {
        drop(self.line.take());
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // Nobody asks any more what it saw.
        drop(self.halt());
    }
}

/// Returns the time between ticks, where there are ticks at all.
fn period_ns(hz: f64) -> Option<u64> {
    let period = Duration::try_from_secs_f64(1.0 / hz).ok().filter(|_| hz > 0.0)?;
    u64::try_from(period.as_nanos()).ok().filter(|period_ns| *period_ns > 0)
}

/// When to look.
struct Ticks {
    period_ns: u64,
    next_ns: u64,
    stop: Receiver<Infallible>,
}

impl Ticks {
    /// Waits for the next tick and returns when it came; nothing where the thread shall stop.
    fn wait(&mut self) -> Option<u64> {
        loop {
            let left_ns = self.next_ns.saturating_sub(monotonic_now());
            match self.stop.recv_timeout(Duration::from_nanos(left_ns)) {
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(never) => match never {},
            }
            let now_ns = monotonic_now();
            if now_ns >= self.next_ns {
                self.next_ns = self.after(now_ns);
                return Some(now_ns);
            }
        }
    }

    /// Returns the first deadline after a time: those that a late tick has missed are left out, not caught up with.
    fn after(&self, now_ns: u64) -> u64 {
        self.next_ns + (1 + (now_ns - self.next_ns) / self.period_ns) * self.period_ns
    }
}

fn sample(hz: f64, mut ticks: Ticks, gauges: Result<Gauges, Unavailable>, log: &EnergyLog) -> Seen {
    let mut gauges = gauges;
    let mut samples = empty(hz);
    while let Some(now_ns) = ticks.wait() {
        // The machine first: a meter may take its time, and stamps its readings itself.
        let looked = gauges.as_mut().map(|gauges| gauges.look(now_ns, &mut samples));
        if let Ok(Err(reason)) = looked {
            gauges = Err(reason);
        }
        // What falls due before the next tick is nearer to this one.
        log.read_due(now_ns + ticks.period_ns / 2);
    }
    gauges.map(|_open| Samples { cpu_ns: thread_cpu_ns(), ..samples })
}

fn empty(hz: f64) -> Samples {
    Samples {
        hz,
        at_ns: Vec::new(),
        busy: Vec::new(),
        steal: Vec::new(),
        frequency_khz: Vec::new(),
        temperature_millidegrees: Vec::new(),
        cpu_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_asks_for_nothing_has_no_period() {
        for (hz, period) in [
            (10.0, Some(100_000_000)),
            (0.5, Some(2_000_000_000)),
            (0.0, None),
            (-1.0, None),
            (f64::NAN, None),
            (1e-300, None),
            (1e12, None),
        ] {
            assert_eq!(period_ns(hz), period, "{hz}");
        }
    }

    #[test]
    fn a_late_tick_moves_no_later_one_and_none_is_caught_up_with() {
        let (_line, stop) = channel();
        let ticks = Ticks { period_ns: 100, next_ns: 500, stop };
        for (now_ns, next_ns) in [(500, 600), (599, 600), (600, 700), (1_050, 1_100)] {
            assert_eq!(ticks.after(now_ns), next_ns, "{now_ns}");
        }
    }
}

//! The instruments around repetitions of a real process, on this machine and on one of fixtures. Alone in its binary:
//! the harness's CPU time is that of the whole process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lab_core::clock::Clock as _;
use lab_core::energy::{EnergyMeter, EnergyReading, MeterError, MeterInfo, MeterKind};
use lab_core::experiment::Evidence;
use lab_core::metric::Reading;
use lab_core::observation::{Instruments as _, Observation};
use lab_host::clock::{Monotonic, monotonic_now};
use lab_host::instruments::{HostInstruments, Meters, Watched};
use lab_host::{Roots, process};

const MS: u64 = 1_000_000;

/// The tests run in turn: each is a repetition that the others' threads would disturb.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that ends with its test.
struct Engine(Child);

impl Engine {
    /// A process that computes without end.
    fn busy() -> Self {
        Self::shell("while :; do :; done")
    }

    /// A process that waits without end.
    fn idle() -> Self {
        Self::shell("read never")
    }

    fn shell(script: &str) -> Self {
        let mut shell = Command::new("sh");
        Self(
            shell
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("a shell starts"),
        )
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn on_cpu_ns(&self) -> u64 {
        let counted = process::counters(&Roots::default(), self.pid()).expect("the engine is alive");
        *counted.on_cpu_ns.value().expect("this kernel keeps schedstat")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A meter that counts how often it was read, and fails from a given reading on.
struct Counting {
    info: MeterInfo,
    n_reads: Arc<AtomicU64>,
    fails_from: u64,
    due_ns: u64,
}

impl EnergyMeter for Counting {
    fn about(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self) -> Result<EnergyReading, MeterError> {
        let n_read = self.n_reads.fetch_add(1, Ordering::SeqCst) + 1;
        if n_read >= self.fails_from {
            return Err(MeterError("`fake` vanished".to_owned()));
        }
        Ok(EnergyReading { at_ns: monotonic_now(), total_uj: n_read * 1_000 })
    }

    fn due_ns(&self) -> u64 {
        self.due_ns
    }
}

fn counting(fails_from: u64) -> (Box<dyn EnergyMeter>, Arc<AtomicU64>) {
    counting_from(fails_from, 0)
}

fn counting_from(fails_from: u64, due_ns: u64) -> (Box<dyn EnergyMeter>, Arc<AtomicU64>) {
    let info = MeterInfo {
        source: "fake".to_owned(),
        kind: MeterKind::Measured,
        quantum_uj: 1,
        update_ns: MS,
        integrated: false,
        longest_gap_ns: None,
    };
    let n_reads = Arc::new(AtomicU64::new(0));
    (Box::new(Counting { info, n_reads: Arc::clone(&n_reads), fails_from, due_ns }), n_reads)
}

fn no_meters() -> Meters {
    Meters::new(Reading::Unavailable("this test has none".to_owned()))
}

fn watch(engine: &Engine, sample_hz: f64, meters: Meters) -> HostInstruments {
    let cores = lab_host::cpu::online(&Roots::default()).expect("the machine has CPUs").iter().collect();
    HostInstruments::new(Watched {
        machine: Roots::default(),
        processes: Roots::default(),
        pid: engine.pid(),
        cores,
        sample_hz,
        meters,
        memory_bandwidth: Reading::Value(12_000_000_000),
        last_level_cache_bytes: Reading::Value(1 << 25),
    })
}

/// Waits until something has come about.
#[track_caller]
fn until(mut come_about: impl FnMut() -> bool) {
    let deadline_ns = monotonic_now() + 20_000 * MS;
    while !come_about() {
        assert!(monotonic_now() < deadline_ns, "nothing came about in 20 s");
        Monotonic.wait_until_ns(monotonic_now() + MS);
    }
}

fn on_cpu_rise(seen: &Observation) -> u64 {
    let of = |counted: &Reading<lab_core::observation::ProcessCounters>| {
        *counted.value().and_then(|counted| counted.on_cpu_ns.value()).expect("this kernel keeps schedstat")
    };
    of(&seen.process.after) - of(&seen.process.before)
}

#[test]
fn a_busy_engine_is_seen_to_be_busy_in_one_repetition_after_the_other() {
    let _alone = alone();
    let engine = Engine::busy();
    let mut instruments = watch(&engine, 100.0, no_meters());
    instruments.loaded();
    let mut last_after_ns = 0;
    for _repetition in 0..2 {
        instruments.begin();
        let from_ns = engine.on_cpu_ns();
        until(|| engine.on_cpu_ns() >= from_ns + 100 * MS);
        let seen = instruments.end();

        assert!(on_cpu_rise(&seen) >= 100 * MS, "{seen:?}");
        let (before, after) = (&seen.machine.before, &seen.machine.after);
        // The kernel counts a running thread's time at its ticks: ten milliseconds may have passed before the wait.
        assert!(before.at_ns > last_after_ns && after.at_ns - before.at_ns >= 90 * MS);
        last_after_ns = after.at_ns;
        let busy = |of: &lab_core::observation::Conditions| -> u64 {
            of.cores.value().unwrap().iter().map(|core| core.busy).sum()
        };
        assert!(busy(after) >= busy(before) + 5, "100 ms are ten jiffies, less what was stolen: {seen:?}");
        let samples = seen.samples.value().unwrap();
        assert!(!samples.at_ns.is_empty() && samples.cpu_ns > 0, "{samples:?}");
        assert!(samples.at_ns.is_sorted() && samples.busy.is_sorted() && samples.steal.is_sorted());
        assert_eq!((samples.busy.len(), samples.steal.len()), (samples.at_ns.len(), samples.at_ns.len()));
        let harness_ns = *seen.harness_cpu_ns.value().unwrap();
        assert!(harness_ns >= samples.cpu_ns, "the thread is part of the harness: {harness_ns} {samples:?}");
        assert_eq!(seen.energy.reason(), Some("this test has none"));
        assert_eq!(seen.memory_bandwidth, Reading::Value(12_000_000_000));
    }
}

#[test]
fn glances_at_a_busy_engine_differ_by_the_time_it_computed() {
    let _alone = alone();
    let engine = Engine::busy();
    let mut instruments = watch(&engine, 0.0, no_meters());
    let before = instruments.glance();
    let from_ns = engine.on_cpu_ns();
    until(|| engine.on_cpu_ns() >= from_ns + 50 * MS);
    let after = instruments.glance();
    let evidence = Evidence::between([&before, &after], [&before, &after]);
    assert!(*evidence.waiting_cpu_ns.value().unwrap() >= 50 * MS, "{evidence:?}");
    for reading in [&evidence.steal_ns, &evidence.run_delay_ns] {
        assert!(reading.value().is_some(), "{evidence:?}");
    }
}

#[test]
fn memory_is_told_apart_by_repetition_launch_and_load() {
    let _alone = alone();
    let engine = Engine::idle();
    let mut instruments = watch(&engine, 0.0, no_meters());
    instruments.begin();
    let memory = instruments.end().memory;
    assert_eq!(memory.after_load_bytes.reason(), Some("no model has been loaded in this launch"));
    instruments.loaded();
    instruments.begin();
    let memory = instruments.end().memory;
    let bytes = |reading: &Reading<u64>| *reading.value().unwrap();
    assert!(bytes(&memory.before_load_bytes) > 0 && bytes(&memory.after_load_bytes) > 0, "{memory:?}");
    assert!(bytes(&memory.launch_peak_bytes) >= bytes(&memory.peak_bytes), "{memory:?}");
}

#[test]
fn without_the_thread_meters_are_read_at_the_beginning_and_at_the_end() {
    let _alone = alone();
    let engine = Engine::idle();
    let (meter, n_reads) = counting(u64::MAX);
    let mut instruments = watch(&engine, 0.0, Meters::new(Reading::Value(vec![meter])));
    for n_expected in [2, 4] {
        instruments.begin();
        let between_ns = monotonic_now();
        let seen = instruments.end();
        assert_eq!(n_reads.load(Ordering::SeqCst), n_expected);
        let trace = &seen.energy.value().unwrap()[0];
        assert_eq!(trace.total_uj, [(n_expected - 1) * 1_000, n_expected * 1_000]);
        assert!(trace.at_ns[0] <= between_ns && between_ns <= trace.at_ns[1]);
        // The meters lie inside of everything else.
        assert!(seen.machine.before.at_ns < trace.at_ns[0] && trace.at_ns[1] < seen.machine.after.at_ns);
        assert_eq!(seen.samples.reason(), Some("the sampling thread is off"));
    }
}

#[test]
fn the_thread_reads_the_meters_in_order_and_they_serve_the_next_launch() {
    let _alone = alone();
    let (meter, n_reads) = counting(u64::MAX);
    let meters = Meters::new(Reading::Value(vec![meter]));
    assert_eq!(meters.about().value().unwrap()[0].source, "fake");
    for _launch in 0..2 {
        let engine = Engine::idle();
        let mut instruments = watch(&engine, 200.0, meters.clone());
        let n_before = n_reads.load(Ordering::SeqCst);
        instruments.begin();
        until(|| n_reads.load(Ordering::SeqCst) >= n_before + 6);
        let seen = instruments.end();
        let trace = &seen.energy.value().unwrap()[0];
        assert!(trace.at_ns.len() >= 7 && trace.at_ns.is_sorted() && trace.total_uj.is_sorted(), "{trace:?}");
        let n_after = n_reads.load(Ordering::SeqCst);
        assert_eq!(n_after - n_before, trace.at_ns.len() as u64, "no reading is lost");
        let ticks = &seen.samples.value().unwrap().at_ns;
        assert!(ticks.windows(2).all(|pair| pair[1] > pair[0]) && ticks[0] >= seen.machine.before.at_ns);
    }
}

#[test]
fn a_meter_that_fails_is_recorded_and_fails_nothing_else() {
    let _alone = alone();
    let engine = Engine::idle();
    let ((failing, n_failing), (sound, n_sound)) = (counting(2), counting(u64::MAX));
    let mut instruments = watch(&engine, 200.0, Meters::new(Reading::Value(vec![failing, sound])));
    instruments.begin();
    until(|| n_sound.load(Ordering::SeqCst) >= 4);
    let seen = instruments.end();
    let traces = seen.energy.value().unwrap();
    assert_eq!((traces[0].at_ns.len(), traces[0].failure.as_deref()), (1, Some("`fake` vanished")));
    assert!(traces[1].at_ns.len() >= 4 && traces[1].failure.is_none());
    assert_eq!(
        n_failing.load(Ordering::SeqCst),
        2,
        "a meter that failed is left alone until the next repetition"
    );
    instruments.begin();
    let again = instruments.end();
    assert_eq!(again.energy.value().unwrap()[0].failure.as_deref(), Some("`fake` vanished"));
    // Its first reading is taken twice: what contradicts the repetition before is none of the next one's business.
    assert_eq!(n_failing.load(Ordering::SeqCst), 4);
}

#[test]
fn a_meter_that_wants_to_be_left_alone_is_read_at_the_edges_only() {
    let _alone = alone();
    let engine = Engine::idle();
    let ((patient, n_patient), (other, n_other)) = (counting_from(u64::MAX, u64::MAX), counting(u64::MAX));
    let mut instruments = watch(&engine, 200.0, Meters::new(Reading::Value(vec![patient, other])));
    instruments.begin();
    until(|| n_other.load(Ordering::SeqCst) >= 4);
    assert_eq!(n_patient.load(Ordering::SeqCst), 1);
    assert_eq!(instruments.end().energy.value().unwrap()[0].at_ns.len(), 2);
}

#[test]
fn a_slow_sampler_stops_at_once() {
    let _alone = alone();
    let engine = Engine::idle();
    let mut instruments = watch(&engine, 0.1, no_meters());
    instruments.begin();
    let from_ns = monotonic_now();
    let seen = instruments.end();
    assert!(monotonic_now() - from_ns < 500 * MS);
    assert_eq!(seen.samples.value().unwrap().at_ns, [0_u64; 0]);
    // A repetition that never ends is forgotten by the next, and by the end of the launch.
    let from_ns = monotonic_now();
    instruments.begin();
    instruments.begin();
    drop(instruments);
    assert!(monotonic_now() - from_ns < 500 * MS);
}

#[test]
fn an_engine_that_died_leaves_reasons_and_the_machine() {
    let _alone = alone();
    let mut engine = Engine::idle();
    let mut instruments = watch(&engine, 100.0, no_meters());
    instruments.begin();
    engine.0.kill().unwrap();
    engine.0.wait().unwrap();
    let seen = instruments.end();
    let expected = format!("process {} does not exist", engine.pid());
    assert_eq!(seen.process.after.reason(), Some(expected.as_str()));
    assert_eq!(seen.memory.peak_bytes.reason(), Some(expected.as_str()));
    assert_eq!(seen.memory.launch_peak_bytes.reason(), Some(expected.as_str()));
    assert!(seen.process.before.value().is_some() && seen.machine.after.cores.value().is_some());
}

#[test]
fn the_columns_of_a_machine_with_sensors_are_as_long_as_its_ticks() {
    let _alone = alone();
    let engine = Engine::idle();
    for (tree, cores, expected) in [
        ("laptop", vec![1, 3], Ok((939_005, Some(800_034), Some(51_000)))),
        ("guest", vec![0, 1], Ok((65_753, None, None))),
        ("laptop", vec![1, 2, 9], Err("`stat` does not hold a line of core 9")),
        ("no such tree", vec![0], Err("stat` does not exist")),
        ("laptop", Vec::new(), Err("no core is named that could be watched")),
    ] {
        let (meter, n_reads) = counting(u64::MAX);
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(tree);
        let mut instruments = HostInstruments::new(Watched {
            machine: Roots::new(data.join("proc"), data.join("sys")),
            processes: Roots::default(),
            pid: engine.pid(),
            cores,
            sample_hz: 500.0,
            meters: Meters::new(Reading::Value(vec![meter])),
            memory_bandwidth: Reading::Unavailable("not measured".to_owned()),
            last_level_cache_bytes: Reading::Value(1 << 25),
        });
        instruments.begin();
        // The first reading is the beginning's, and each tick reads last. The meters are read even where the machine
        // shows nothing.
        until(|| n_reads.load(Ordering::SeqCst) >= 3);
        let seen = instruments.end();
        let Ok((busy, frequency, temperature)) = expected else {
            let reason = seen.samples.reason().unwrap().to_owned();
            assert!(reason.ends_with(expected.unwrap_err()), "{tree}: {reason}");
            continue;
        };
        let samples = seen.samples.value().unwrap();
        let n_ticks = samples.at_ns.len();
        assert!(n_ticks > 0, "{tree}");
        assert_eq!(samples.busy, vec![busy; n_ticks], "{tree}");
        let whole = |value: Option<u64>| value.map_or_else(Vec::new, |value| vec![value; n_ticks]);
        assert_eq!(samples.frequency_khz, whole(frequency), "{tree}");
        let temperatures: Vec<i64> = temperature.map_or_else(Vec::new, |value| vec![value; n_ticks]);
        assert_eq!(samples.temperature_millidegrees, temperatures, "{tree}");
    }
}

use super::*;
use crate::command::{CommandObservation, MemoryPeak};
use crate::energy::{EnergyTrace, MeterInfo, MeterKind};
use crate::observation::{Conditions, CoreTime, Observation, ProcessCounters, Samples, Span};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 5 * SECOND;

/// A quiet second on two cores: the engine ran on both, nothing else did.
fn quiet() -> Observation {
    let mut observation = Observation::unobserved(Reading::Value(1));
    let conditions = |at_ns, busy| {
        let core = |core| CoreTime { core, busy, idle: 10, steal: 0 };
        let mut conditions = Conditions::unobserved();
        conditions.at_ns = at_ns;
        conditions.cores = Reading::Value(vec![core(0), core(1)]);
        conditions.swapped_pages = Reading::Value(7);
        conditions.throttle_events = Reading::Value(3);
        conditions.clock_source = Reading::Value("tsc".to_owned());
        conditions.governor = Reading::Value("performance".to_owned());
        let PressureColumns(pressure) = pressure(0, 0);
        conditions.pressure = pressure;
        conditions.cgroup.throttled_us = Reading::Value(0);
        conditions
    };
    observation.machine = Span { before: conditions(BEGAN, 500), after: conditions(BEGAN + SECOND, 600) };
    observation.process =
        Span { before: Reading::Value(process(0)), after: Reading::Value(process(2 * SECOND)) };
    observation.harness_cpu_ns = Reading::Value(0);
    observation.samples = Reading::Value(Samples {
        hz: 2.0,
        at_ns: vec![BEGAN, BEGAN + SECOND / 2],
        busy: vec![500, 550],
        steal: vec![0, 0],
        frequency_khz: vec![3_000_000, 2_950_000],
        temperature_millidegrees: vec![50_000, 51_000],
        cpu_ns: 10_000,
    });
    observation.memory_bandwidth = Reading::Value(10_000_000_000);
    observation
}

struct PressureColumns(crate::observation::Pressure);

fn pressure(cpu_us: u64, memory_us: u64) -> PressureColumns {
    PressureColumns(crate::observation::Pressure {
        cpu_some_us: Reading::Value(cpu_us),
        memory_some_us: Reading::Value(memory_us),
        io_some_us: Reading::Value(0),
    })
}

fn process(on_cpu_ns: u64) -> ProcessCounters {
    ProcessCounters {
        user_jiffies: 0,
        system_jiffies: 0,
        on_cpu_ns: Reading::Value(on_cpu_ns),
        run_delay_ns: Reading::Value(0),
        voluntary_switches: Reading::Value(0),
        involuntary_switches: Reading::Value(0),
        minor_faults: 0,
        major_faults: 0,
        threads: 2,
        nice: 0,
    }
}

/// A tenth of a second for four prompt tokens, then 50 tokens of 18 ms each: a second in all.
fn steady() -> Timeline {
    Timeline::new((0..=50).map(|n| (100 + n * 18) * 1_000_000).collect()).unwrap()
}

fn inputs<'a>(
    timeline: &'a Timeline,
    observation: &'a Observation,
    outside_ns: u64,
    bytes_per_token: &'a Reading<u64>,
) -> Inputs<'a> {
    Inputs {
        timeline,
        n_prompt: 10,
        load_ns: 1,
        request_ns: BEGAN,
        outside_ns,
        n_before: Some(1),
        bytes_per_token,
        observation,
        is_in_turn: false,
    }
}

fn judge_with(timeline: &Timeline, observation: &Observation, outside_ns: u64) -> Validity {
    judge(&inputs(timeline, observation, outside_ns, &Reading::Value(100_000_000)))
}

fn judge_quiet_but(change: impl FnOnce(&mut Observation)) -> Validity {
    let mut observation = quiet();
    change(&mut observation);
    judge_with(&steady(), &observation, SECOND)
}

#[track_caller]
fn check(validity: &Validity, word: &str, rules: &[&str]) {
    let fired: Vec<&str> = validity.reasons().iter().map(|reason| rule_of(reason)).collect();
    assert_eq!((validity.word(), fired.as_slice()), (word, rules), "{validity}");
}

#[test]
fn a_quiet_second_is_valid_and_only_the_rules_about_energy_are_blind() {
    check(&judge_quiet_but(|_| {}), "valid", &[]);
    let blind = blind(&quiet());
    assert_eq!(
        blind.iter().map(|(rule, _)| *rule).collect::<Vec<_>>(),
        ["energy-resolution", "implausible-power"]
    );
}

#[test]
fn a_repetition_too_short_for_a_look_says_so_and_does_not_blame_the_kernel() {
    let mut observation = quiet();
    if let Reading::Value(samples) = &mut observation.samples {
        samples.at_ns.clear();
        samples.frequency_khz.clear();
    }
    let reason = "the repetition was over before the sampling thread looked".to_owned();
    assert!(blind(&observation).contains(&("frequency", reason)));
}

/// Judges a run of a command in a quiet second, but for a change.
fn judge_command_but(change: impl FnOnce(&mut CommandObservation)) -> Validity {
    let mut seen = CommandObservation {
        rules: RULES_VERSION.to_owned(),
        machine: quiet().machine,
        command_cpu_ns: Reading::Value(2 * SECOND),
        harness_cpu_ns: Reading::Value(0),
    };
    change(&mut seen);
    judge_command(&run_of_command(Some(Box::new(seen))))
}

fn run_of_command(observation: Option<Box<CommandObservation>>) -> CommandRun {
    CommandRun {
        run_id: uuid::Uuid::from_u128(1),
        elapsed_ns: SECOND,
        rows_used: Reading::Value(1),
        memory: MemoryPeak { sampled_bytes: Reading::Value(1), kernel_bytes: Reading::Value(1), samples: 2 },
        failure: None,
        validity: Validity::Valid,
        observation,
    }
}

#[test]
fn a_run_of_a_command_is_judged_by_what_can_be_seen_without_an_engine() {
    check(&judge_command_but(|_| {}), "valid", &[]);
    check(&judge_command(&run_of_command(None)), "valid", &[]);
    // Half of the cores' time was somebody else's: an engine's repetition would be invalid.
    let others = judge_command_but(|own| own.command_cpu_ns = Reading::Value(SECOND));
    check(&others, "suspect", &["other-load"]);
    assert!(others.to_string().contains("other processes took from the command's cores 50.0 %"), "{others}");
    let untold = Reading::Unavailable("the kernel does not say".to_owned());
    check(&judge_command_but(|own| own.command_cpu_ns = untold), "valid", &[]);
    let stolen = judge_command_but(|own| {
        let Reading::Value(cores) = &mut own.machine.after.cores else { unreachable!("they are seen") };
        cores[0].steal = 31;
    });
    check(&stolen, "invalid", &["steal"]);
    let pressed = judge_command_but(|own| own.machine.after.pressure = pressure(0, 200_000).0);
    // The command may be what presses, and a plan can admit it.
    check(&pressed, "suspect", &["memory-pressure"]);
    let swapped = judge_command_but(|own| own.machine.after.swapped_pages = Reading::Value(7 + 257));
    check(&swapped, "suspect", &["swap"]);
}

#[test]
fn every_rule_for_commands_is_one_of_the_table() {
    assert!(OF_COMMANDS.iter().all(|id| find(id).is_some()));
}

/// Returns the rules that cannot look, each with its reason.
fn blind(observation: &Observation) -> Vec<(&'static str, String)> {
    let timeline = steady();
    let inputs = Inputs {
        timeline: &timeline,
        n_prompt: 10,
        load_ns: 1,
        request_ns: BEGAN,
        outside_ns: SECOND,
        n_before: Some(1),
        bytes_per_token: &Reading::Value(100_000_000),
        observation,
        is_in_turn: false,
    };
    let reasons = signals(&inputs).into_iter();
    reasons.filter_map(|(rule, signal)| Some((rule.id, signal.reason()?.to_owned()))).collect()
}

#[test]
fn each_disturbance_of_the_machine_fires_its_own_rule() {
    let after = |change: fn(&mut Conditions)| judge_quiet_but(|own| change(&mut own.machine.after));
    let core = |index: usize, change: fn(&mut CoreTime)| {
        judge_quiet_but(|own| {
            if let Reading::Value(cores) = &mut own.machine.after.cores {
                change(&mut cores[index]);
            }
        })
    };
    // Four jiffies of two hundred are 2 %, three are above one percent but not above the floor.
    check(&core(1, |core| (core.busy, core.steal) = (596, 4)), "suspect", &["steal"]);
    check(&core(1, |core| (core.busy, core.steal) = (597, 3)), "valid", &[]);
    check(&core(1, |core| (core.busy, core.steal) = (570, 30)), "suspect", &["steal"]);
    check(&core(1, |core| (core.busy, core.steal) = (569, 31)), "invalid", &["steal"]);
    check(&after(|own| own.swapped_pages = Reading::Value(264)), "suspect", &["swap"]);
    check(&after(|own| own.swapped_pages = Reading::Value(263)), "valid", &[]);
    check(&after(|own| own.throttle_events = Reading::Value(4)), "suspect", &["throttling"]);
    check(&after(|own| own.pressure = pressure(51_000, 0).0), "suspect", &["cpu-pressure"]);
    check(&after(|own| own.pressure = pressure(50_000, 10_000).0), "valid", &[]);
    check(&after(|own| own.pressure = pressure(0, 110_000).0), "invalid", &["memory-pressure"]);
    check(&after(|own| own.cgroup.throttled_us = Reading::Value(20_000)), "suspect", &["quota"]);
    check(&after(|own| own.governor = Reading::Value("powersave".to_owned())), "suspect", &["settings"]);
    check(
        &after(|own| own.clock_source = Reading::Value("hpet".to_owned())),
        "suspect",
        &["settings", "clock-source"],
    );
}

#[test]
fn each_disturbance_of_the_engine_fires_its_own_rule() {
    let process_with = |change: fn(&mut ProcessCounters)| {
        judge_quiet_but(|own| {
            if let Reading::Value(process) = &mut own.process.after {
                change(process);
            }
        })
    };
    // The cores were busy for two seconds and the engine for 1.94 of them: 60 ms were others'.
    let waited = |run_delay_ns, on_cpu_ns| {
        judge_quiet_but(|own| {
            if let Reading::Value(process) = &mut own.process.after {
                process.run_delay_ns = Reading::Value(run_delay_ns);
                process.on_cpu_ns = Reading::Value(on_cpu_ns);
            }
        })
    };
    check(&waited(60_000_000, 1_940_000_000), "suspect", &["run-queue"]);
    check(&waited(50_000_000, 1_940_000_000), "valid", &[]);
    // An engine that waits for its own threads is not disturbed.
    check(&waited(900_000_000, 2_000_000_000), "valid", &[]);
    check(
        &process_with(|own| own.involuntary_switches = Reading::Value(101)),
        "suspect",
        &["involuntary-switches"],
    );
    let many_threads = |own: &mut ProcessCounters| {
        (own.involuntary_switches, own.threads) = (Reading::Value(1_000), 3);
    };
    check(&process_with(many_threads), "valid", &[]);
    check(&process_with(|own| own.major_faults = 11), "suspect", &["major-faults"]);
    // The cores were busy for two seconds and the engine for 1.85 of them: 7.5 % were others'.
    check(&process_with(|own| own.on_cpu_ns = Reading::Value(1_850_000_000)), "suspect", &["other-load"]);
    // Threads that came and went are in the jiffies alone.
    let short_lived = |own: &mut ProcessCounters| {
        (own.on_cpu_ns, own.user_jiffies) = (Reading::Value(1_000), 199);
    };
    check(&process_with(short_lived), "valid", &[]);
    check(&process_with(|own| own.on_cpu_ns = Reading::Value(SECOND)), "invalid", &["other-load"]);
    let slowed = judge_quiet_but(|own| {
        if let Reading::Value(samples) = &mut own.samples {
            samples.frequency_khz[1] = 2_600_000;
        }
    });
    check(&slowed, "suspect", &["frequency"]);
    let idle_core = judge_quiet_but(|own| {
        if let (Reading::Value(samples), Reading::Value(process)) = (&mut own.samples, &mut own.process.after)
        {
            (samples.frequency_khz[1], process.threads) = (2_600_000, 1);
        }
    });
    check(&idle_core, "valid", &[]);
}

#[test]
fn times_that_cannot_be_are_suspect() {
    let observation = quiet();
    check(&judge_with(&steady(), &observation, SECOND + 12_000_000), "valid", &[]);
    check(&judge_with(&steady(), &observation, SECOND + 13_000_000), "suspect", &["clock"]);
    let mut stamps = steady().stamps_ns().to_vec();
    stamps[20] = stamps[19];
    let repeated = Timeline::new(stamps).unwrap();
    check(&judge_with(&repeated, &observation, SECOND), "suspect", &["implausible-stamps"]);
    // 55.6 tokens of 100 MB a second are 5.6 GB/s.
    let fast = judge_quiet_but(|own| own.memory_bandwidth = Reading::Value(5_000_000_000));
    check(&fast, "suspect", &["implausible-speed"]);
    let cached = judge_quiet_but(|own| {
        own.memory_bandwidth = Reading::Value(5_000_000_000);
        own.last_level_cache_bytes = Reading::Value(256_000_000);
    });
    check(&cached, "valid", &[]);
}

#[test]
fn a_beginning_that_still_gets_faster_is_not_warm() {
    let observation = quiet();
    let with_gaps = |first_ms: u64, gap_us: fn(u64) -> u64| {
        let mut at_us = first_ms * 1000;
        let mut stamps = vec![at_us * 1000];
        for token in 0..50 {
            at_us += gap_us(token);
            stamps.push(at_us * 1000);
        }
        let timeline = Timeline::new(stamps).unwrap();
        judge_with(&timeline, &observation, timeline.total_ns())
    };
    check(&with_gaps(100, |token| 20_000 - token * 60), "suspect", &["warm-up"]);
    // It falls as surely, but by less than the tolerance.
    check(&with_gaps(100, |token| 20_000 - token * 10), "valid", &[]);
    // The context fills: later tokens are slower.
    check(&with_gaps(100, |token| 20_000 + token * 60), "valid", &[]);
    let cold = |n_before| {
        let (timeline, told) = (steady(), Reading::Unavailable(String::new()));
        judge(&Inputs { n_before, ..inputs(&timeline, &observation, SECOND, &told) })
    };
    check(&cold(Some(0)), "suspect", &["cold-start"]);
    check(&cold(None), "valid", &[]);
}

#[test]
fn a_meter_slower_than_the_execution_is_no_resolution() {
    let trace = |update_ns| EnergyTrace {
        meter: MeterInfo {
            source: "plug".to_owned(),
            kind: MeterKind::Measured,
            quantum_uj: 1,
            update_ns,
            integrated: false,
            longest_gap_ns: None,
        },
        at_ns: vec![BEGAN - 1, BEGAN + SECOND + 1],
        total_uj: vec![0, 20_000_000],
        failure: None,
    };
    let with = |update_ns| judge_quiet_but(|own| own.energy = Reading::Value(vec![trace(update_ns)]));
    check(&with(1_000_000), "valid", &[]);
    check(&with(SECOND / 20), "valid", &[]);
    check(&with(SECOND / 10), "suspect", &["energy-resolution"]);
    let leapt = |uj| {
        let trace = EnergyTrace { total_uj: vec![0, uj], ..trace(1_000_000) };
        judge_quiet_but(|own| own.energy = Reading::Value(vec![trace]))
    };
    check(&leapt(99_000_000_000), "valid", &[]);
    check(&leapt(101_000_000_000), "suspect", &["implausible-power"]);
}

#[test]
fn every_rule_fires_above_its_threshold_and_never_at_it() {
    for rule in RULES {
        let beyond = rule.floor.map_or(0.0, |floor| INVALID_FLOORS * floor.amount) + 1.0;
        let with = |value: f64| rule.effect(Signal { value, amount: beyond.max(value) });
        assert_eq!(with(rule.suspect_above), None, "{}", rule.id);
        assert_eq!(with(rule.suspect_above + 1e-9), Some(Effect::Suspect), "{}", rule.id);
        if let Some(limit) = rule.invalid_above {
            assert!(limit > rule.suspect_above, "{}", rule.id);
            assert_eq!(with(limit), Some(Effect::Suspect), "{}", rule.id);
            assert_eq!(with(limit + 1e-9), Some(Effect::Invalid), "{}", rule.id);
        }
        if let Some(floor) = rule.floor {
            let at_floor = Signal { value: f64::MAX, amount: floor.amount };
            assert_eq!(rule.effect(at_floor), None, "{}", rule.id);
            let some = Signal { value: f64::MAX, amount: INVALID_FLOORS * floor.amount };
            assert_eq!(rule.effect(some), Some(Effect::Suspect), "{}", rule.id);
        }
    }
}

#[test]
fn rules_have_ids_of_their_own_that_reasons_begin_with() {
    for rule in RULES {
        assert!(std::ptr::eq(find(rule.id).unwrap(), rule), "{}", rule.id);
        assert!(!rule.id.contains(':'), "{}", rule.id);
        let reason = rule.reason(Signal::from(12.345), Effect::Suspect);
        assert_eq!(rule_of(&reason), rule.id);
    }
    let steal = find("steal").unwrap().reason(Signal::from(2.0), Effect::Suspect);
    assert_eq!(steal, "steal: the hypervisor took from the engine's cores 2.00 % (more than 1 %)");
}

#[test]
fn the_trend_agrees_with_an_independent_implementation() {
    // pip install pymannkendall==1.4.3 scipy==1.18.1
    // python -c "import pymannkendall as mk
    // for x in ([5,4,3,2,1], [1,2,2,3,3,3,4,9], [7,7,7], [30,28,29,25,26,22,23,20,21,20,19,19,18,20,17,17]):
    //     r = mk.original_test(x); print(int(r.s), repr(float(r.z)))"
    let golden: [(&[u64], i64, f64); 4] = [
        (&[5, 4, 3, 2, 1], -10, -2.204_540_768_504_860_4),
        (&[1, 2, 2, 3, 3, 3, 4, 9], 24, 2.952_927_398_325_299_3),
        (&[7, 7, 7], 0, 0.0),
        (&[30, 28, 29, 25, 26, 22, 23, 20, 21, 20, 19, 19, 18, 20, 17, 17], -101, -4.528_334_128_517_262),
    ];
    for (series, s, z) in golden {
        let found = mann_kendall(series);
        assert_eq!(found.s, s, "{series:?}");
        assert!((found.z - z).abs() < 1e-12, "{series:?}: {}", found.z);
    }
}

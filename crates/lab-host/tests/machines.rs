//! Machines that this one is not: every probe on a tree of fixtures each.
//!
//! `laptop` is bare metal with RAPL and a battery, `server` has two sockets and GPUs, `guest` is a container in a
//! virtual machine, `board` has two kinds of ARM cores, and in `broken` no file holds what it should.

use std::path::Path;

use lab_core::metric;
use lab_core::observation::CoreTime;
use lab_core::plan::EnergySource;
use lab_host::cpu::{self, Cache, CacheKind, backend_kind};
use lab_host::doctor::{self, Status};
use lab_host::energy::Wanted;
use lab_host::{Reading, Roots, conditions, energy, machine, memory, process};

fn tree(name: &str) -> Roots {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    Roots::new(data.join("proc"), data.join("sys"))
}

fn value<T>(value: impl Into<T>) -> metric::Reading<T> {
    metric::Reading::Value(value.into())
}

fn available<T>(value: impl Into<T>) -> Reading<T> {
    Reading::Available(value.into())
}

#[track_caller]
fn check_caches(caches: Reading<Vec<Cache>>, expected: &[(u8, CacheKind, u64, usize, usize)]) {
    let caches = caches.into_result().expect("the tree describes its caches");
    let rows: Vec<_> =
        caches.iter().map(|c| (c.level, c.kind, c.size_bytes >> 10, c.shared_by, c.instances)).collect();
    assert_eq!(rows, expected);
}

/// Returns the status of one capability as `detail`, or `reason` and `remedy` in one text.
#[track_caller]
fn diagnosis(roots: &Roots, name: &str) -> String {
    let root = roots.sys.parent().expect("a tree has a parent").display().to_string();
    let all = doctor::examine(roots, None);
    let found =
        all.into_iter().find(|capability| capability.name == name).expect("the doctor knows the name");
    let text = match found.status {
        Status::Available { detail } => format!("yes: {detail}"),
        Status::Unavailable { reason, remedy: None } => format!("no: {reason}"),
        Status::Unavailable { reason, remedy: Some(remedy) } => format!("no: {reason} -> {remedy}"),
    };
    text.replace(&root, "")
}

#[test]
fn a_laptop_is_described() {
    let roots = tree("laptop");
    let cpu = cpu::probe(&roots);
    assert_eq!(cpu.model_name, available("Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz"));
    assert_eq!((cpu.vendor.clone(), cpu.family.clone()), (available("GenuineIntel"), available("6")));
    assert_eq!((cpu.model.clone(), cpu.stepping.clone()), (available("142"), available("9")));
    assert_eq!(cpu.online.value().unwrap().to_string(), "0-3");
    let counts = (&cpu.threads_online, &cpu.cores_online, &cpu.sockets);
    assert_eq!(counts, (&available(4_usize), &available(2_usize), &available(1_usize)));
    let sets = cpu.instruction_sets().unwrap();
    assert!(sets.contains(&"fma") && sets.contains(&"f16c") && !sets.contains(&"avx512f"), "{sets:?}");
    assert_eq!(backend_kind(&sets), "cpu_avx2");
    check_caches(
        cpu.caches,
        &[
            (1, CacheKind::Data, 32, 2, 2),
            (1, CacheKind::Instruction, 32, 2, 2),
            (2, CacheKind::Unified, 256, 2, 2),
            (3, CacheKind::Unified, 3072, 4, 1),
        ],
    );

    let memory = memory::probe(&roots);
    assert_eq!(memory.available_bytes, available(3_566_092_u64 * 1024));
    assert_eq!(memory.swap_used_bytes, available((2_097_148_u64 - 1_834_492) * 1024));
    assert_eq!(memory::memory_gib_rounded(&roots), Ok(8));
    let reason = memory::cgroup_limit(&roots).unwrap_err().reason;
    assert_eq!(reason, "no control group limits the memory of this process");
    assert_eq!(memory::usable_memory(&roots), Ok(8_008_260 * 1024));

    let machine = machine::probe(&roots);
    assert_eq!((machine.virtualisation, machine.container), (available("none"), available("none")));
    assert_eq!((machine.architecture, machine.hostname), (available("x86_64"), available("birch")));
    assert_eq!(machine.kernel_release, available("6.1.0-28-amd64"));
    let accelerators = machine.accelerators.into_result().unwrap();
    let names: Vec<_> = accelerators.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["Intel device 0x5916"]);
}

#[test]
fn the_conditions_on_a_laptop_are_read() {
    let now = conditions::probe(&tree("laptop"), &[1, 3]);
    let load = now.load_average.as_result().unwrap();
    assert_eq!(
        format!("{} {} {}", load.one_minute, load.five_minutes, load.fifteen_minutes),
        "0.52 0.58 0.59"
    );
    let core = |core, busy, idle| CoreTime { core, busy, idle, steal: 0 };
    assert_eq!(now.cores, value([core(1, 470_002, 5_995_714), core(3, 469_003, 5_995_717)]));
    let pressure = (now.pressure.cpu_some_us, now.pressure.memory_some_us, now.pressure.io_some_us);
    assert_eq!(pressure, (value(912_345_678_u64), value(1_234_567_u64), value(44_556_677_u64)));
    assert_eq!(now.swapped_pages, value(75_776_u64));
    assert_eq!(now.throttle_events, value(3_u64 + 10 + 3 + 10 + 4 * 12));
    // The hottest of 51 and 49.5 °C; 127 °C is an input that nothing is connected to.
    assert_eq!(now.temperature_millidegrees, value(51_000_i64));
    assert_eq!(now.frequencies_khz, value([2_700_012_u64, 800_034]));
    assert_eq!((now.governor, now.boost), (value("performance"), value(true)));
    assert_eq!(now.transparent_hugepages, value("madvise"));
    assert_eq!((now.address_space_randomisation, now.clock_source), (value(2_u8), value("tsc")));
    assert_eq!(now.cgroup.memory_peak_bytes, value(3_221_225_472_u64));
    // 1500 us in the group itself, 4000 us in one above.
    assert_eq!(now.cgroup.throttled_us, value(5_500_u64));
    let unlimited = Some("no control group limits the memory of this process");
    assert_eq!(now.cgroup.memory_limit_bytes.reason(), unlimited);
}

#[test]
fn the_meters_of_a_laptop_are_found() {
    let roots = tree("laptop");
    for (name, expected) in [
        ("energy by RAPL", "yes: rapl package-0 below /sys + rapl package-0/dram below /sys"),
        (
            "energy by hwmon",
            "no: `/sys/class/hwmon` lists no power or energy sensor besides those of GPUs and batteries",
        ),
        ("energy by battery", "yes: battery BAT0 below /sys"),
        ("affinity", "yes: 4 of 4 online CPUs in the mask of this process (0-3)"),
        ("cpu frequency", "yes: governor `powersave`, 2.70 GHz now, boost on"),
        ("throttle counters", "yes: 74 events since boot"),
        ("swap", "yes: 256.5 MiB of 2.0 GiB in use"),
        ("pressure (PSI)", "yes: some task waited for a CPU in 1.53 % of the last 10 s"),
        (
            "perf events",
            "no: `perf_event_paranoid` is 3 -> permit it with `sysctl kernel.perf_event_paranoid=2`",
        ),
        ("address-space randomisation", "yes: on (`randomize_va_space` is 2)"),
        ("huge pages", "yes: transparent: `madvise`; 0 reserved"),
    ] {
        assert_eq!(diagnosis(&roots, name), expected);
    }
    let memory = diagnosis(&roots, "peak memory reset");
    assert!(memory.starts_with("no: process 4242 has no `clear_refs`"), "{memory}");
}

#[test]
fn a_process_on_a_laptop_is_read() {
    let roots = tree("laptop");
    assert_eq!(process::peak_memory(&roots, 4242).unwrap(), 141_312 * 1024);
    assert_eq!(process::resident_memory(&roots, 4242).unwrap(), 98_304 * 1024);
    assert_eq!(process::affinity(&roots, 4242).unwrap().to_string(), "0-6");
    // The program calls itself `lab (a) b`, and one of its three threads has ended just now.
    let counted = process::counters(&roots, 4242).unwrap();
    assert_eq!((counted.user_jiffies, counted.system_jiffies, counted.nice), (1500, 40, -5));
    assert_eq!((counted.minor_faults, counted.major_faults, counted.threads), (25_000, 3, 3));
    assert_eq!((counted.on_cpu_ns, counted.run_delay_ns), (value(15_400_000_123_u64), value(2_000_456_u64)));
    let switches = (counted.voluntary_switches, counted.involuntary_switches);
    assert_eq!(switches, (value(160_u64), value(24_u64)));
    let absent = process::peak_memory(&roots, 4243).unwrap_err();
    assert_eq!(absent.to_string(), "process 4243 does not exist");
}

#[test]
fn a_server_with_two_sockets_is_described() {
    let roots = tree("server");
    let cpu = cpu::probe(&roots);
    // Both sockets number their cores from 0; the count must not fold them together.
    let counts = (&cpu.threads_online, &cpu.cores_online, &cpu.sockets);
    assert_eq!(counts, (&available(4_usize), &available(4_usize), &available(2_usize)));
    let sets = cpu.instruction_sets().unwrap();
    assert!(sets.ends_with(&["avx512_vnni", "avx512_bf16"]), "{sets:?}");
    assert_eq!(backend_kind(&sets), "cpu_avx512");
    check_caches(
        cpu.caches,
        &[
            (1, CacheKind::Data, 32, 1, 4),
            (1, CacheKind::Instruction, 32, 1, 4),
            (2, CacheKind::Unified, 1024, 1, 4),
            (3, CacheKind::Unified, 32768, 2, 2),
        ],
    );
    let limit = memory::cgroup_limit(&roots).unwrap();
    assert_eq!(limit.bytes, 64 << 30);
    assert!(limit.file.ends_with("batch.slice/job-17.scope/memory.max"));
    assert_eq!((memory::usable_memory(&roots), memory::memory_gib_rounded(&roots)), (Ok(64 << 30), Ok(503)));

    // The board's own graphics do not compute, and NVIDIA's cards count once.
    let accelerators = machine::accelerators(&roots).unwrap();
    let names: Vec<_> = accelerators.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["NVIDIA H100 PCIe", "NVIDIA H100 PCIe", "AMD Instinct MI210"]);
    assert_eq!(accelerators[1].found_at, "driver/nvidia/gpus/0000:c1:00.0");

    let now = conditions::probe(&roots, &[0]);
    assert_eq!((now.boost, now.governor), (value(true), value("performance")));
    assert_eq!(now.cgroup.memory_limit_bytes, value(64_u64 << 30));
    assert!(now.cores.reason().unwrap().ends_with("proc/stat` does not hold a line of core 0"));
    let unseen = now.temperature_millidegrees.reason().unwrap().to_owned();
    assert!(unseen.starts_with("no sensor below `") && unseen.ends_with("sys/class` shows a temperature"));
    for (name, expected) in [
        ("energy by RAPL", "yes: rapl package-0 below /sys + rapl package-1 below /sys"),
        (
            "energy by hwmon",
            "no: `/sys/class/hwmon` lists no power or energy sensor besides those of GPUs and batteries",
        ),
        ("energy by battery", "no: `/sys/class/power_supply` does not exist"),
        (
            "NVIDIA GPU",
            "no: present (NVIDIA H100 PCIe, NVIDIA H100 PCIe), but NVML tells of this machine alone, and the roots are those below `/sys`",
        ),
        ("AMD GPU", "yes: amdgpu 0 power1_average below /sys"),
        (
            "usable memory",
            "yes: 64.0 GiB; the control group permits 64.0 GiB (`/sys/fs/cgroup/batch.slice/job-17.scope/memory.max`)",
        ),
        ("swap", "yes: no swap space, so no run can swap"),
        ("perf events", "no: permitted (`perf_event_paranoid` is -1); not read by this version of lab"),
        ("address-space randomisation", "yes: off (`randomize_va_space` is 0)"),
        ("huge pages", "yes: transparent: `always`; 1024 reserved"),
    ] {
        assert_eq!(diagnosis(&roots, name), expected);
    }
}

#[test]
fn a_container_in_a_virtual_machine_is_described() {
    let roots = tree("guest");
    let cpu = cpu::probe(&roots);
    let counts = (&cpu.threads_online, &cpu.cores_online, &cpu.sockets);
    assert_eq!(counts, (&available(2_usize), &available(2_usize), &available(2_usize)));
    let limit = memory::cgroup_limit(&roots).unwrap();
    assert_eq!(limit.bytes, 2 << 30);
    assert!(limit.file.ends_with("cgroup/memory/memory.limit_in_bytes"), "{limit:?}");

    let machine = machine::probe(&roots);
    assert_eq!((machine.virtualisation, machine.container), (available("kvm"), available("docker")));
    assert_eq!(machine.accelerators, available(Vec::new()));
    let missing = machine.architecture.into_result().unwrap_err();
    assert!(missing.reason.ends_with("proc/sys/kernel/arch` does not exist"), "{missing}");

    let now = conditions::probe(&roots, &[0, 1]);
    let cores = now.cores.as_result().unwrap();
    assert_eq!(cores.iter().map(|core| core.steal).collect::<Vec<_>>(), [5_000, 4_512]);
    let frequencies = now.frequencies_khz.reason();
    assert!(now.governor.value().is_none() && frequencies.is_some() && now.boost.value().is_none());
    // Version 1: nanoseconds, and files of other names.
    assert_eq!(now.cgroup.throttled_us, value(123_456_u64));
    assert_eq!(now.cgroup.memory_peak_bytes, value(1_610_612_736_u64));
    assert_eq!(now.cgroup.memory_limit_bytes, value(2_u64 << 30));
    for (name, expected) in [
        (
            "energy by RAPL",
            "no: `/sys/class/powercap` does not exist -> measure on the bare machine: a guest (kvm) is not shown \
             the energy counters",
        ),
        ("steal accounting", "yes: 5.85 % of the time since boot"),
        (
            "pressure (PSI)",
            "no: `/proc/pressure/cpu` does not exist -> use a kernel with CONFIG_PSI, booted with `psi=1`",
        ),
        ("cpu frequency", "no: `/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor` does not exist"),
        ("perf events", "no: permitted, but the processor shows no counters"),
    ] {
        assert_eq!(diagnosis(&roots, name), expected);
    }
}

#[test]
fn a_board_with_two_kinds_of_cores_is_described() {
    let roots = tree("board");
    let cpu = cpu::probe(&roots);
    assert_eq!(cpu.model_name, available("Cortex-A55 + Cortex-A76"));
    assert_eq!((cpu.vendor.clone(), cpu.family.clone()), (available("ARM"), available("8")));
    let (model, stepping) = (cpu.model.clone(), cpu.stepping.clone());
    assert_eq!((model, stepping), (available("0xd05 + 0xd0b"), available("r2p0 + r4p0")));
    assert_eq!(cpu.cores_online, available(4_usize));
    let sockets = cpu.sockets.clone().into_result().unwrap_err();
    assert_eq!(sockets.reason, "`-1` is no number of a socket");
    assert_eq!(cpu.instruction_sets().unwrap(), ["asimd", "asimdhp", "asimddp"]);
    assert_eq!(backend_kind(&cpu.instruction_sets().unwrap()), "cpu_neon");
    check_caches(
        cpu.caches,
        &[
            (1, CacheKind::Data, 32, 1, 2),
            (1, CacheKind::Data, 64, 1, 2),
            (1, CacheKind::Instruction, 32, 1, 2),
            (1, CacheKind::Instruction, 64, 1, 2),
            (2, CacheKind::Unified, 128, 1, 2),
            (2, CacheKind::Unified, 512, 1, 2),
            (3, CacheKind::Unified, 3072, 4, 1),
        ],
    );
    let machine = machine::probe(&roots);
    assert_eq!((machine.architecture, machine.virtualisation), (available("aarch64"), available("none")));
    assert_eq!(diagnosis(&roots, "energy by hwmon"), "yes: hwmon ina226 power1_input below /sys");
    let now = conditions::probe(&roots, &[0]);
    assert_eq!(now.temperature_millidegrees, value(41_615_i64));
    assert_eq!(memory::memory_gib_rounded(&roots), Ok(15));
}

#[test]
fn no_probe_takes_garbage_for_a_fact() {
    for roots in [tree("broken"), tree("no such tree")] {
        let cpu = serde_json::to_value(cpu::probe(&roots)).unwrap();
        let memory = serde_json::to_value(memory::probe(&roots)).unwrap();
        let mut conditions = serde_json::to_value(conditions::probe(&roots, &[0])).unwrap();
        let (pressure, cgroup) = (conditions["pressure"].take(), conditions["cgroup"].take());
        let machine = serde_json::to_value(machine::probe(&roots)).unwrap();
        // The tree has a list of device classes and a 1 kB swap; neither is garbage.
        // The time is asked of no file, and the two that have parts are looked at by themselves.
        let honest = ["accelerators", "swap_total_bytes", "at_ns", "pressure", "cgroup"];
        for facts in [cpu, memory, conditions, pressure, cgroup, machine] {
            for (name, fact) in facts.as_object().unwrap() {
                let reason = fact.get("unavailable").and_then(|reason| reason.as_str());
                assert!(
                    honest.contains(&name.as_str()) || reason.is_some_and(|r| !r.is_empty()),
                    "{name}: {fact}"
                );
            }
        }
        assert!(memory::usable_memory(&roots).is_err() && memory::memory_gib_rounded(&roots).is_err());
        assert!(memory::cgroup_limit(&roots).is_err());
        for source in [EnergySource::Rapl, EnergySource::RaplPerf, EnergySource::Hwmon, EnergySource::Battery]
        {
            let wanted = Wanted { sources: &[source], external: None, device: "cpu", nvml_library: None };
            assert!(energy::open(&roots, &wanted).is_err(), "{source:?}");
        }
        assert!(process::peak_memory(&roots, 7).is_err() && process::resident_memory(&roots, 7).is_err());
        assert!(process::counters(&roots, 7).is_err());
        assert!(process::affinity(&roots, 7).is_err());
        // The clock is no file.
        let all = doctor::examine(&roots, None).into_iter();
        let able: Vec<_> = all.filter(|capability| capability.status.is_available()).collect();
        assert_eq!(
            able.iter().map(|capability| capability.name).collect::<Vec<_>>(),
            ["monotonic clock", "profile per operation"]
        );
    }
}

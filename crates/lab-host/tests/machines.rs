//! Machines that this one is not: every probe on a tree of fixtures each.
//!
//! `laptop` is bare metal with RAPL and a battery, `server` has two sockets and GPUs, `guest` is a container in a
//! virtual machine, `board` has two kinds of ARM cores, and in `broken` no file holds what it should.

use std::path::Path;

use lab_host::cpu::{self, Cache, CacheKind, backend_kind};
use lab_host::doctor::{self, Status};
use lab_host::{Reading, Roots, conditions, energy, machine, memory, process};

fn tree(name: &str) -> Roots {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    Roots::new(data.join("proc"), data.join("sys"))
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
    let all = doctor::examine(roots);
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
    let now = conditions::probe(&tree("laptop"));
    let load = now.load_average.into_result().unwrap();
    assert_eq!(
        format!("{} {} {}", load.one_minute, load.five_minutes, load.fifteen_minutes),
        "0.52 0.58 0.59"
    );
    assert_eq!(now.cpu_pressure_percent, available(1.53));
    let time = now.cpu_time.into_result().unwrap();
    let total = 1_393_280 + 2112 + 460_511 + 23_921_457 + 61_402 + 20_128;
    assert_eq!((time.steal_jiffies, time.total_jiffies), (0, total));
    assert_eq!(now.swapped_pages, available(75_776_u64));
    assert_eq!(now.throttle_events, available(3_u64 + 10 + 3 + 10 + 4 * 12));
    assert_eq!((now.governor, now.frequency_hz), (available("powersave"), available(2_700_012_000_u64)));
    assert_eq!((now.boost, now.transparent_hugepages), (available(true), available("madvise")));
    assert_eq!((now.address_space_randomisation, now.clock_source), (available(2_u8), available("tsc")));
}

#[test]
fn the_meters_of_a_laptop_are_found_and_said_to_be_unread() {
    let roots = tree("laptop");
    let names = |sources: Vec<energy::EnergySource>| sources.into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(
        names(energy::rapl_zones(&roots).unwrap()),
        ["package-0", "package-0/core", "package-0/uncore", "package-0/dram"]
    );
    assert_eq!(names(energy::batteries(&roots).unwrap()), ["BAT0 power_now"]);
    for (name, expected) in [
        (
            "energy by RAPL",
            "no: present (package-0, package-0/core, package-0/uncore, package-0/dram); not read by this version of lab",
        ),
        ("energy by hwmon", "no: present (BAT0 power1_input); not read by this version of lab"),
        ("energy by battery", "no: present (BAT0 power_now); not read by this version of lab"),
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
    assert_eq!(process::thread_count(&roots, 4242).unwrap(), 3);
    assert_eq!(process::affinity(&roots, 4242).unwrap().to_string(), "0-6");
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

    let now = conditions::probe(&roots);
    assert_eq!((now.boost, now.governor), (available(true), available("performance")));
    for (name, expected) in [
        (
            "energy by RAPL",
            "no: present (package-0, package-0/core, package-1, package-1/core); not read by this version of lab",
        ),
        ("energy by hwmon", "no: present (amdgpu power1_average); not read by this version of lab"),
        ("energy by battery", "no: `/sys/class/power_supply` does not exist"),
        ("NVIDIA GPU", "no: present (NVIDIA H100 PCIe, NVIDIA H100 PCIe); not used by this version of lab"),
        ("AMD GPU", "no: present (AMD Instinct MI210); not used by this version of lab"),
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

    let now = conditions::probe(&roots);
    assert_eq!(now.cpu_time.into_result().unwrap().steal_jiffies, 9512);
    assert!(
        now.governor.value().is_none() && now.frequency_hz.value().is_none() && now.boost.value().is_none()
    );
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
    assert_eq!(energy::hwmon_sensors(&roots).unwrap()[0].name, "ina226 power1_input");
    assert_eq!(memory::memory_gib_rounded(&roots), Ok(15));
}

#[test]
fn no_probe_takes_garbage_for_a_fact() {
    for roots in [tree("broken"), tree("no such tree")] {
        let cpu = serde_json::to_value(cpu::probe(&roots)).unwrap();
        let memory = serde_json::to_value(memory::probe(&roots)).unwrap();
        let conditions = serde_json::to_value(conditions::probe(&roots)).unwrap();
        let machine = serde_json::to_value(machine::probe(&roots)).unwrap();
        // The tree has a list of device classes and a 1 kB swap; neither is garbage.
        let honest = ["accelerators", "swap_total_bytes"];
        for facts in [cpu, memory, conditions, machine] {
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
        assert!(energy::rapl_zones(&roots).is_err() && energy::hwmon_sensors(&roots).is_err());
        assert!(energy::batteries(&roots).is_err());
        assert!(process::peak_memory(&roots, 7).is_err() && process::resident_memory(&roots, 7).is_err());
        assert!(process::affinity(&roots, 7).is_err() && process::thread_count(&roots, 7).is_err());
        // The clock is no file.
        let able: Vec<_> = doctor::examine(&roots).into_iter().filter(|c| c.status.is_available()).collect();
        assert_eq!(able.iter().map(|capability| capability.name).collect::<Vec<_>>(), ["monotonic clock"]);
    }
}

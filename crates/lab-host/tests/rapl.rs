//! RAPL on a tree of fixtures whose counters another process drives, as the kernel would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lab_core::clock::Clock as _;
use lab_core::energy::{ActiveEnergy, ActiveWindow, EnergyMeter, EnergyTrace, MeterKind, active_energy};
use lab_core::plan::EnergySource;
use lab_host::clock::Monotonic;
use lab_host::energy::{Wanted, open};
use lab_host::{Roots, Unavailable};

const WANTED: Wanted<'static> =
    Wanted { sources: &[EnergySource::Rapl], external: None, device: "cpu", nvml_library: None };

/// A tree with zones of RAPL.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a place for the tree") }
    }

    fn zone(&self, number: &str) -> PathBuf {
        self.directory.path().join("class/powercap").join(format!("intel-rapl:{number}"))
    }

    fn add(&self, number: &str, name: &str, range_uj: u64, total_uj: u64) -> PathBuf {
        let zone = self.zone(number);
        fs::create_dir_all(&zone).expect("a writable place");
        let range_uj = range_uj.to_string();
        for (file, text) in
            [("name", name), ("max_energy_range_uj", &range_uj), ("constraint_0_max_power_uw", "60000000")]
        {
            fs::write(zone.join(file), text).expect("a writable place");
        }
        write_counter(&zone, total_uj).expect("a writable place");
        zone
    }

    fn open(&self) -> Result<Vec<Box<dyn EnergyMeter>>, Unavailable> {
        open(&Roots::new("/proc", self.directory.path()), &WANTED)
    }
}

/// Replaces the counter at once, so that no reader sees half a number.
fn write_counter(zone: &Path, total_uj: u64) -> std::io::Result<()> {
    let next = zone.join("next");
    fs::write(&next, format!("{total_uj}\n"))?;
    fs::rename(next, zone.join("energy_uj"))
}

/// The variable that makes a test binary play the processor: the zone to be driven.
const DRIVEN_ZONE: &str = "LAB_TEST_DRIVEN_ZONE";
const WATTS: f64 = 18.1;
/// Wraps every 2.43 s at that power: at least twice in 5 s.
const RANGE_UJ: u64 = 44_000_000;

/// Counts at a constant power until the tree is gone.
fn drive(zone: &Path) {
    let start_ns = Monotonic.now_ns();
    loop {
        let now_ns = Monotonic.now_ns();
        // 18.1 W are 181 uJ in 10 us.
        let total_uj = (now_ns - start_ns) * 181 / 10_000;
        if write_counter(zone, total_uj % RANGE_UJ).is_err() {
            return;
        }
        Monotonic.wait_until_ns(now_ns + 1_000_000);
    }
}

struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Runs one test of this binary again in a process of its own, with a variable set.
fn again(test: &str, variable: &str, value: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--nocapture"]).env(variable, value).stdout(Stdio::null());
    command
}

#[test]
fn a_constant_power_over_two_wraps_is_that_energy() {
    if let Some(zone) = std::env::var_os(DRIVEN_ZONE) {
        return drive(Path::new(&zone));
    }
    let tree = Tree::new();
    let zone = tree.add("0", "package-0", RANGE_UJ, 0);
    let _driver =
        Driver(again("a_constant_power_over_two_wraps_is_that_energy", DRIVEN_ZONE, &zone).spawn().unwrap());
    let deadline_ns = Monotonic.now_ns() + 30_000_000_000;
    while fs::read_to_string(zone.join("energy_uj")).unwrap() == "0\n" {
        assert!(Monotonic.now_ns() < deadline_ns, "the driver does not start");
        std::thread::yield_now();
    }
    let mut meters = tree.open().unwrap();
    // A busy machine may hold up the driver at an edge for longer than 0.5 %, but not three times in a row.
    let mut shares = Vec::new();
    let is_close = (0..3).any(|_| {
        let energy = energy_of_five_seconds(meters[0].as_mut());
        assert!(energy.total_uj > 2.0 * RANGE_UJ as f64, "{energy:?}");
        shares.push(energy.total_uj / (WATTS * 5e6) - 1.0);
        shares.last().is_some_and(|share| share.abs() < 0.005)
    });
    assert!(is_close, "{shares:?}");
}

/// Neither edge of the window lies on a reading.
fn energy_of_five_seconds(meter: &mut dyn EnergyMeter) -> ActiveEnergy {
    let mut trace = EnergyTrace::new(meter.about().clone());
    let start_ns = Monotonic.now_ns();
    for tick in 0..=212 {
        Monotonic.wait_until_ns(start_ns + tick * 25_000_000);
        trace.push(meter.read());
    }
    let window = ActiveWindow { from_ns: start_ns + 110_000_000, to_ns: start_ns + 5_110_000_000 };
    active_energy(&[trace], MeterKind::Measured, window).expect("the readings reach around the window")
}

#[test]
fn two_packages_and_their_memory_are_metered_apart() {
    let tree = Tree::new();
    let range_uj = 262_143_328_850;
    let zones = [
        tree.add("0", "package-0", range_uj, 1_000),
        tree.add("0:0", "core", range_uj, 1_000),
        tree.add("0:1", "dram", range_uj, 1_000),
        tree.add("1", "package-1", range_uj, 1_000),
    ];
    let mut meters = tree.open().unwrap();
    for (zone, total_uj) in zones.iter().zip([3_000, 9_000, 2_500, 5_000]) {
        write_counter(zone, total_uj).unwrap();
    }
    let read = |meter: &mut Box<dyn EnergyMeter>| {
        (meter.about().source.split(" below ").next().unwrap().to_owned(), meter.read().unwrap().total_uj)
    };
    let readings: Vec<_> = meters.iter_mut().map(read).collect();
    let expected = [("rapl package-0", 2_000), ("rapl package-0/dram", 1_500), ("rapl package-1", 4_000)];
    assert_eq!(readings, expected.map(|(name, total_uj)| (name.to_owned(), total_uj)));
}

#[test]
fn a_zone_that_vanishes_in_mid_run_is_named() {
    let tree = Tree::new();
    let zone = tree.add("0", "package-0", RANGE_UJ, 7);
    let mut meters = tree.open().unwrap();
    fs::remove_dir_all(&zone).unwrap();
    let error = meters[0].read().unwrap_err();
    assert_eq!(error.0, format!("`{}` does not exist", zone.join("energy_uj").display()));
}

#[test]
fn a_counter_that_was_set_back_is_no_wrap() {
    let tree = Tree::new();
    let zone = tree.add("0", "package-0", 262_143_328_850, 9_000_000_000);
    let mut meters = tree.open().unwrap();
    write_counter(&zone, 1_000).unwrap();
    let error = meters[0].read().unwrap_err();
    assert!(error.0.contains("went backwards, from 9000000000 to 1000, which is no wrap"), "{error}");
}

/// The variable that makes a test binary open a tree and print why it cannot.
const DENIED_TREE: &str = "LAB_TEST_DENIED_TREE";
const NOBODY: u32 = 65_534;

/// Permissions bind all but root: as root, the binary runs again as nobody.
#[test]
fn a_counter_for_root_only_is_refused_with_the_remedy() {
    if let Some(tree) = std::env::var_os(DENIED_TREE) {
        let error = open(&Roots::new("/proc", tree), &WANTED).err().unwrap();
        return println!("{error}");
    }
    let tree = Tree::new();
    let zone = tree.add("0", "package-0", RANGE_UJ, 7);
    let file = zone.join("energy_uj");
    let root = tree.directory.path();
    let binary = root.join("again");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    for (path, mode) in [(root, 0o755), (&binary, 0o755), (&file, 0o000)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(&binary);
    command.args(["--exact", "a_counter_for_root_only_is_refused_with_the_remedy", "--nocapture"]);
    command.env(DENIED_TREE, root).current_dir("/");
    if fs::File::open(&file).is_ok() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let (said, file) = (String::from_utf8_lossy(&output.stdout), file.display());
    assert!(
        said.contains(&format!("energy source `rapl`: `{file}` may not be read (permission denied)")),
        "{said}"
    );
    assert!(said.contains("it is for root only (CVE-2020-8694); run as root, or permit it"), "{said}");
    assert!(said.contains("class/powercap/intel-rapl:*/energy_uj`"), "{said}");
}

//! NVIDIA's management library, played by `tests/data/fake_nvml.c`, which each test compiles with a script of its own
//! and which is loaded the way the real one is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lab_core::clock::Clock as _;
use lab_core::energy::{ActiveEnergy, ActiveWindow, EnergyMeter, EnergyTrace, MeterKind, active_energy};
use lab_core::plan::EnergySource;
use lab_host::clock::Monotonic;
use lab_host::doctor::{Status, examine};
use lab_host::energy::{Wanted, open};
use lab_host::{Roots, Unavailable};

const NOT_SUPPORTED: u32 = 3;
const NO_PERMISSION: u32 = 4;
const GPU_IS_LOST: u32 = 15;

/// The fake library and its script.
struct Fake {
    directory: tempfile::TempDir,
}

impl Fake {
    fn new(script: &str) -> Self {
        let fake = Self { directory: tempfile::tempdir().expect("a place for the fake") };
        fake.play(script);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fake_nvml.c");
        let define = format!("-DSTATE_FILE=\"{}\"", fake.script().display());
        let arguments = ["-shared", "-fPIC", "-Wall", "-Werror", &define, source, "-o"];
        let status = Command::new("cc").args(arguments).arg(fake.library()).status().expect("a C compiler");
        assert!(status.success());
        fake
    }

    /// Replaces the script at once, so that no call sees half of it.
    fn play(&self, script: &str) {
        let next = self.directory.path().join("next");
        fs::write(&next, script).expect("a writable place");
        fs::rename(&next, self.script()).expect("a writable place");
    }

    fn script(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("libnvidia-ml.so.1")
    }

    fn open(&self, device: &str) -> Result<Vec<Box<dyn EnergyMeter>>, Unavailable> {
        let library = self.library();
        open(&Roots::default(), &wanted(device, Some(&library)))
    }
}

fn wanted<'a>(device: &'a str, nvml_library: Option<&'a std::path::Path>) -> Wanted<'a> {
    Wanted { sources: &[EnergySource::Nvml], external: None, device, nvml_library }
}

/// Returns the energy that two of three seconds took, under 250 W.
fn energy_of_two_seconds(meter: &mut dyn EnergyMeter) -> ActiveEnergy {
    let mut trace = EnergyTrace::new(meter.about().clone());
    let start_ns = Monotonic.now_ns();
    for tick in 0..=110 {
        Monotonic.wait_until_ns(start_ns + tick * 20_000_000);
        trace.push(meter.read());
    }
    let window = ActiveWindow { from_ns: start_ns + 50_000_000, to_ns: start_ns + 2_050_000_000 };
    active_energy(&[trace], MeterKind::Measured, window).expect("the readings reach around the window")
}

#[test]
fn a_constant_power_is_that_energy_in_the_window() {
    let fake = Fake::new("A100 =250 0 0 0\n");
    let mut meters = fake.open("cuda:0").unwrap();
    let source = meters[0].about().source.clone();
    assert!(source.starts_with("nvml 0 A100 energy through "), "{source}");
    // A busy machine may hold up the one reading at an edge for longer than 0.5 %, but not three times in a row.
    let energies: Vec<ActiveEnergy> = (0..3).map(|_| energy_of_two_seconds(meters[0].as_mut())).collect();
    assert!(energies.iter().any(|own| (own.total_uj / 500e6 - 1.0).abs() < 0.005), "{energies:?}");
    assert!(energies.iter().all(|own| (own.total_uj - 500e6).abs() < own.plus_minus_uj), "{energies:?}");
}

#[test]
fn a_device_without_a_counter_is_integrated_from_its_power() {
    let fake = Fake::new(&format!("P40 0 {NOT_SUPPORTED} 150000 0\n"));
    let mut meter = fake.open("cuda:0").unwrap().remove(0);
    assert!(meter.about().source.starts_with("nvml 0 P40 power through "));
    assert!(meter.about().integrated);
    let first = meter.read().unwrap();
    Monotonic.wait_until_ns(first.at_ns + 100_000_000);
    let second = meter.read().unwrap();
    let expected_uj = (second.at_ns - first.at_ns) * 150 / 1000;
    assert!((second.total_uj - first.total_uj).abs_diff(expected_uj) <= 1, "{first:?} {second:?}");
}

#[test]
fn a_device_that_is_lost_in_mid_run_is_named() {
    let fake = Fake::new("A100 5 0 0 0\n");
    let mut meter = fake.open("cuda:0").unwrap().remove(0);
    assert_eq!(meter.read().unwrap().total_uj, 0);
    fake.play(&format!("A100 5 {GPU_IS_LOST} 0 {GPU_IS_LOST}\n"));
    let error = meter.read().unwrap_err();
    assert!(error.0.starts_with("nvml 0: ") && error.0.contains("fell off the bus"), "{error}");
}

#[test]
fn two_devices_are_two_meters_and_one_is_picked_by_its_number() {
    let fake = Fake::new("A100 5000 0 0 0\nH100 7000 0 0 0\n");
    let both = fake.open("cuda").unwrap();
    assert_eq!(both.len(), 2);
    let mut second = fake.open("cuda:1").unwrap();
    assert_eq!(second.len(), 1);
    assert!(second[0].about().source.starts_with("nvml 1 H100 energy"));
    fake.play("A100 5000 0 0 0\nH100 7250 0 0 0\n");
    assert_eq!(second[0].read().unwrap().total_uj, 250_000);
    let third = fake.open("cuda:2").err().unwrap();
    assert_eq!(third.reason, "energy source `nvml`: NVML lists 2 devices, but no device 2");
}

#[test]
fn a_counter_that_goes_backwards_is_an_error() {
    let fake = Fake::new("A100 5000 0 0 0\n");
    let mut meter = fake.open("cuda:0").unwrap().remove(0);
    fake.play("A100 4000 0 0 0\n");
    let error = meter.read().unwrap_err();
    assert!(error.0.ends_with("went backwards, from 5000000 to 4000000"), "{error}");
}

#[test]
fn a_refusal_comes_with_the_remedy() {
    let device = Fake::new(&format!("A100 0 {NO_PERMISSION} 0 0\n"));
    let library = Fake::new(&format!("! {NO_PERMISSION}\n"));
    for (fake, what) in [(device, "nvml 0: "), (library, "the management library does not start: ")] {
        let error = fake.open("cuda:0").err().unwrap();
        assert!(error.reason.starts_with(&format!("energy source `nvml`: {what}")), "{error}");
        assert!(error.reason.ends_with("; run as root, or as one who may open `/dev/nvidiactl`"), "{error}");
    }
}

#[test]
fn an_absent_library_is_named_and_a_fixture_never_reads_the_real_one() {
    let absent = std::path::Path::new("/nonexistent/libnvidia-ml.so");
    let error = open(&Roots::default(), &wanted("cuda:0", Some(absent))).err().unwrap();
    assert!(error.reason.contains("/nonexistent/libnvidia-ml.so"), "{error}");
    assert!(error.reason.ends_with("; it comes with the NVIDIA driver"), "{error}");
    let fixture = open(&Roots::new("/f/proc", "/f/sys"), &wanted("cuda:0", None)).err().unwrap();
    assert_eq!(
        fixture.reason,
        "energy source `nvml`: NVML tells of this machine alone, and the roots are those below `/f/sys`"
    );
}

#[test]
fn the_doctor_asks_the_library_that_a_session_would_ask() {
    let fake = Fake::new("A100 5 0 0 0\n");
    let (library, absent) = (fake.library(), PathBuf::from("/nonexistent/libnvidia-ml.so"));
    for (library, expected) in [(library, "nvml 0 A100 energy through "), (absent, "cannot be loaded: ")] {
        let session = match open(&Roots::default(), &wanted("cuda:0", Some(&library))) {
            Ok(meters) => meters[0].about().source.clone(),
            Err(Unavailable { reason }) => reason.replace("energy source `nvml`: ", ""),
        };
        let capabilities = examine(&Roots::default(), Some(&library));
        let graphics = capabilities.into_iter().find(|capability| capability.name == "NVIDIA GPU").unwrap();
        let (Status::Available { detail: told } | Status::Unavailable { reason: told, .. }) = graphics.status;
        assert_eq!(told, session);
        assert!(told.contains(expected), "{told}");
    }
}

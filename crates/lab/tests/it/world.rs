//! Trees of files that stand in for the machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lab_core::clock::Clock as _;
use lab_host::clock::Monotonic;

use crate::harness::Lab;

/// A procfs of this machine's own parts, except that the test says where the processors' time went.
pub(crate) struct Procfs {
    root: PathBuf,
    busy: u64,
}

impl Procfs {
    pub(crate) fn new(lab: &Lab) -> Self {
        let root = lab.path("proc");
        fs::create_dir_all(&root).unwrap();
        for own in ["cpuinfo", "meminfo", "loadavg", "vmstat", "pressure", "self", "sys", "version"] {
            if !root.join(own).exists() {
                symlink(format!("/proc/{own}"), root.join(own)).unwrap();
            }
        }
        let procfs = Self { root, busy: 1_000 };
        procfs.write(0);
        procfs
    }

    pub(crate) fn path(&self) -> String {
        self.root.to_str().unwrap().to_owned()
    }

    /// Writes `stat` with so much time stolen from each of 64 processors.
    pub(crate) fn write(&self, steal: u64) {
        let line = |name: String| format!("{name} {} 0 0 5000 0 0 0 {steal} 0 0\n", self.busy);
        let cores: String = (0..64).map(|core| line(format!("cpu{core}"))).collect();
        let text = format!("{}{cores}procs_running 1\n", line("cpu ".to_owned()));
        fs::write(self.root.join("stat.next"), text).unwrap();
        fs::rename(self.root.join("stat.next"), self.root.join("stat")).unwrap();
    }
}

/// Time that is stolen from every processor without end, until dropped.
pub(crate) struct Thief {
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Thief {
    pub(crate) fn in_tree(procfs: Procfs) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let writer = std::thread::spawn(move || {
            let mut stolen = 0;
            while !stopped.load(Ordering::Relaxed) {
                stolen += 1;
                procfs.write(stolen);
                Monotonic.wait_until_ns(Monotonic.now_ns() + 1_000_000);
            }
        });
        Self { stop, writer: Some(writer) }
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.take().unwrap().join().unwrap();
    }
}

/// What the counter in the tree stands for, in microwatts.
const POWER_UW: u64 = 18_100_000;

/// Makes a sysfs of this machine's own parts but without its sensors.
pub(crate) fn bare_sysfs(lab: &Lab) -> PathBuf {
    let sys = lab.path("sys");
    fs::create_dir_all(sys.join("class")).unwrap();
    for own in ["devices", "fs", "kernel", "hypervisor"] {
        let real = Path::new("/sys").join(own);
        if real.exists() {
            symlink(real, sys.join(own)).unwrap();
        }
    }
    sys
}

/// A processor package whose counter rises by [`POWER_UW`] until dropped.
pub(crate) struct Package {
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Package {
    pub(crate) fn running(sys: &Path) -> Self {
        let zone = sys.join("class/powercap/intel-rapl:0");
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let from_ns = Monotonic.now_ns();
        let write = move || {
            let total_uj = (Monotonic.now_ns() - from_ns) / 1_000 * POWER_UW / 1_000_000;
            // Renamed into place: a reader never sees half a number.
            fs::write(zone.join("next"), format!("{total_uj}\n")).unwrap();
            fs::rename(zone.join("next"), zone.join("energy_uj")).unwrap();
        };
        write();
        let writer = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                write();
                Monotonic.wait_until_ns(Monotonic.now_ns() + 1_000_000);
            }
        });
        Self { stop, writer: Some(writer) }
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.take().unwrap().join().unwrap();
    }
}

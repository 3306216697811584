//! The instruments of a session: opened once, before anything runs, and lent to each launch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use lab_core::energy::{EnergyMeter, MeterKind, active_energy};
use lab_core::fingerprint::PartRecord;
use lab_core::metric::Reading;
use lab_core::plan::{EnergySource, EngineKind, Plan};
use lab_core::record::{IdleBaseline, InstrumentSet, MemoryBandwidth};
use lab_core::validity::RULES_VERSION;
use lab_host::bandwidth::cache::{Key, load_or_measure};
use lab_host::bandwidth::{self, Setup};
use lab_host::clock::Monotonic;
use lab_host::energy::{self, Wanted};
use lab_host::instruments::{HostInstruments, Meters, Watched};
use lab_host::{Roots, Unavailable, cpu, memory};

use crate::backend::Backend;
use crate::failure::{Failure, Result};
use crate::terminal::say;

/// Names the library that NVIDIA's meters are read through, in place of the one that the loader finds.
const NVML_LIBRARY: &str = "LAB_NVML_LIBRARY";

/// Returns the library that NVIDIA's meters are read through, where the environment names one.
pub(crate) fn nvml_library() -> Option<PathBuf> {
    std::env::var_os(NVML_LIBRARY).map(PathBuf::from)
}

/// The instruments of a session.
pub(crate) struct Instruments {
    /// What the session records of them.
    pub(crate) set: InstrumentSet,
    meters: Meters,
    roots: Roots,
    cores: Vec<u32>,
    last_level_cache_bytes: Reading<u64>,
}

impl Instruments {
    /// Opens the meters that the plan asks for. A plan that requires energy is refused here, before anything runs.
    pub(crate) fn open(plan: &Plan, device: &str, backend: &Backend, roots: &Roots) -> Result<Self> {
        let opened = open_meters(plan, device, roots, nvml_library().as_deref());
        if let (true, Err(reason)) = (plan.energy.required, &opened) {
            return Err(Failure::run(anyhow!("the plan requires an energy meter: {reason}"))
                .hint("`lab doctor` says what this host can measure; drop `required` to run without"));
        }
        let asked_for = !matches!(plan.energy.sources.as_slice(), [] | [EnergySource::Auto]);
        if let (true, Err(reason)) = (asked_for, &opened) {
            say(&format!("note: energy is not measured: {reason}"));
        }
        let meters = Meters::new(opened.map_err(|reason| reason.to_string()).into());
        let set = InstrumentSet {
            rules: RULES_VERSION.to_owned(),
            sample_hz: plan.instruments.sample_hz,
            meters: meters.about(),
            memory_bandwidth: Reading::Unavailable("not measured".to_owned()),
            idle: None,
        };
        let cache = cpu::probe(roots).last_level_cache_bytes().map_err(|reason| reason.to_string());
        let (roots, cores) = (roots.clone(), backend.cores.clone());
        Ok(Self { set, meters, roots, cores, last_level_cache_bytes: cache.into() })
    }

    /// Takes what is measured once, on the quiet machine: its memory's bandwidth, and what it takes when idle.
    pub(crate) fn calibrate(&mut self, plan: &Plan, backend: &Backend, hardware: &PartRecord, cache: &Path) {
        self.set.memory_bandwidth = match tells_bytes(&plan.engine.kind) {
            true => self.bandwidth(backend.threads, hardware, cache).into(),
            false => Reading::Unavailable("the engine does not tell what a token touches".to_owned()),
        };
        if !plan.energy.idle.is_zero() {
            say(&format!("measuring the idle machine for {} s", plan.energy.idle.as_secs()));
            self.set.idle = Some(self.idle(plan.energy.idle).into());
        }
    }

    fn bandwidth(
        &self,
        threads: u32,
        hardware: &PartRecord,
        cache: &Path,
    ) -> std::result::Result<MemoryBandwidth, String> {
        let key = Key { hardware: hardware.digest().to_string(), cores: self.cores.clone(), threads };
        let measure = || {
            say("measuring what the memory delivers (once a day)");
            let setup = Setup {
                cores: &self.cores,
                threads,
                largest_cache_bytes: self.last_level_cache_bytes.value().copied().unwrap_or(ASSUMED_CACHE),
                available_bytes: memory::usable_memory(&Roots::default())?,
            };
            let measured = bandwidth::measure(&setup, &self.roots, &Monotonic)?;
            if let Some(share) = measured.disturbance() {
                say(&format!(
                    "note: others took {:.1} % of the cores' time meanwhile; the next session measures again",
                    100.0 * share
                ));
            }
            Ok(measured)
        };
        load_or_measure(&cache.join("bandwidth"), &key, Timestamp::now(), measure)
            .map_err(|reason| reason.to_string())
    }

    /// Measures the machine while nothing is asked of it.
    fn idle(&self, length: Duration) -> std::result::Result<IdleBaseline, String> {
        let length_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4);
        let (window, traces) = self.meters.record(&Monotonic, length_ns);
        let energy = active_energy(traces.as_result()?, MeterKind::Measured, window)?;
        let seconds = length.as_secs_f64();
        Ok(IdleBaseline {
            watts: energy.total_uj / 1e6 / seconds,
            plus_minus_watts: energy.plus_minus_uj / 1e6 / seconds,
            seconds,
            traces: traces.value().cloned().unwrap_or_default(),
        })
    }

    /// Watches one engine process.
    pub(crate) fn watch(&self, pid: u32) -> HostInstruments {
        HostInstruments::new(Watched {
            machine: self.roots.clone(),
            // The engine is a process of this kernel, whatever stands in for its machine.
            processes: Roots::default(),
            pid,
            cores: self.cores.clone(),
            sample_hz: self.set.sample_hz,
            meters: self.meters.clone(),
            memory_bandwidth: self.set.memory_bandwidth.clone().map(|own| own.bytes_per_second),
            last_level_cache_bytes: self.last_level_cache_bytes.clone(),
        })
    }
}

fn open_meters(
    plan: &Plan,
    device: &str,
    roots: &Roots,
    nvml_library: Option<&Path>,
) -> std::result::Result<Vec<Box<dyn EnergyMeter>>, Unavailable> {
    energy::open(
        roots,
        &Wanted {
            sources: &plan.energy.sources,
            external: plan.energy.external.as_ref(),
            device,
            nvml_library,
        },
    )
}

/// Only an engine that tells how many bytes a token touches has a roofline.
fn tells_bytes(kind: &EngineKind) -> bool {
    match kind {
        EngineKind::Candle | EngineKind::Command(_) => true,
        EngineKind::Scripted(script) => script.bytes_per_token.is_some(),
    }
}

/// Where the kernel tells no cache: more than most processors have, in bytes.
const ASSUMED_CACHE: u64 = 64 << 20;

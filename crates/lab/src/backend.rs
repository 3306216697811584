//! What the harness permits an engine to use: threads, cores, environment.

use std::collections::BTreeMap;

use anyhow::anyhow;
use lab_core::experiment::Layouts;
use lab_core::fingerprint::BackendPart;
use lab_core::plan::{EngineKind, EngineSpec};
use lab_host::cpu::{self, Cpu};
use lab_host::{Roots, conditions, layout, process};

use crate::failure::{Failure, Result};

/// What the harness permits an engine to use.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) threads: u32,
    pub(crate) cores: Vec<u32>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) part: BackendPart,
}

/// Variables of the user's environment that reach an engine, each because engines or their C library heed it. All
/// others are dropped (candle's own pinning too: the harness sets the cores); what passes is part of the fingerprint.
const PASSED: [&str; 7] = [
    "CANDLE_BARRIER_POOL_SPIN_LIMIT",
    "CANDLE_DEQUANTIZE_ALL",
    "CANDLE_DEQUANTIZE_ALL_F16",
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MISTRALRS_FORCE_AVX2",
    "MISTRALRS_FORCE_AVXVNNI",
];

/// What a foreign engine may need besides, to find its libraries. The engines that come with lab link none of their own,
/// and `cargo run` sets this variable: passed to them, it would tell `cargo run -- run` from `lab run`.
const PASSED_TO_FOREIGN: &str = "LD_LIBRARY_PATH";

/// Variables that engines take their number of threads from: rayon, candle, OpenMP.
const THREAD_VARIABLES: [&str; 3] = ["CANDLE_NUM_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"];

/// Variables that commands and their libraries heed, and that change how fast they are or how much memory they take: part
/// of the fingerprint of a session that ran one.
const HEEDED_BY_COMMANDS: [&str; 15] = [
    "GLIBC_TUNABLES",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTHONMALLOC",
    "PYTHONPATH",
    "RAYON_NUM_THREADS",
    "VIRTUAL_ENV",
];

/// Variables without which commands do not find what they need. They say where things are on one machine and not what runs:
/// passed, and no part of the fingerprint.
const WHEREABOUTS: [&str; 6] = ["HOME", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"];

impl Backend {
    /// Returns the backend of a side of an experiment. Who says where memory begins is identity: no side of an experiment
    /// compares with a session of its own.
    #[must_use]
    pub(crate) fn for_pairs(mut self, layouts: Layouts) -> Self {
        self.part.address_space_randomization = Some(layouts.in_words().to_owned());
        self
    }
}

/// Resolves a plan's engine section against this host.
///
/// More threads than cores are refused: candle's main thread spins without bound while it waits for its workers, and
/// two threads on one core collapse.
pub(crate) fn resolve(spec: &EngineSpec, roots: &Roots, host: &Cpu) -> Result<Backend> {
    let cores = usable_cores(spec.cores.as_deref(), "the engine", host)?;
    let threads = spec.threads.unwrap_or_else(|| default_threads(host, cores.len()));
    if threads as usize > cores.len() {
        return Err(too_many_threads(threads, cores.len()));
    }
    let environment = environment(threads, &spec.kind);
    let part = part(threads, &cores, environment.clone(), roots, host)?;
    Ok(Backend { threads, cores, environment, part })
}

/// Resolves what a command may use: all of it, or the cores that its plan names, with what its plan adds to its environment.
///
/// Of the environment, what programs are known to heed is identity, and what the plan says; where things lie is not.
pub(crate) fn of_command(
    cores: Option<&[u32]>,
    own: &BTreeMap<String, String>,
    roots: &Roots,
    host: &Cpu,
) -> Result<Backend> {
    let cores = usable_cores(cores, "the command", host)?;
    let threads = u32::try_from(cores.len()).unwrap_or(u32::MAX);
    let taken = |names: &[&str]| -> BTreeMap<String, String> {
        names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
    };
    let mut heeded = taken(&HEEDED_BY_COMMANDS);
    heeded.extend(own.clone());
    let mut environment = taken(&WHEREABOUTS);
    environment.extend(heeded.clone());
    let part = part(threads, &cores, heeded, roots, host)?;
    Ok(Backend { threads, cores, environment, part })
}

/// Returns the cores that this process may use, or those of them that a plan names.
fn usable_cores(wanted: Option<&[u32]>, who: &str, host: &Cpu) -> Result<Vec<u32>> {
    let allowed = process::affinity(&Roots::default(), std::process::id()).map_err(Failure::run)?;
    // A mask may name processors that are not there.
    let is_online = |core: &u32| host.online.value().is_none_or(|online| online.contains(*core));
    let allowed: Vec<u32> = allowed.iter().filter(is_online).collect();
    match wanted {
        None => Ok(allowed),
        Some(wanted) => check_cores(wanted, &allowed, who),
    }
}

fn part(
    threads: u32,
    cores: &[u32],
    environment: BTreeMap<String, String>,
    roots: &Roots,
    host: &Cpu,
) -> Result<BackendPart> {
    let instruction_sets = host.instruction_sets().map_err(Failure::run)?;
    Ok(BackendPart {
        kind: cpu::backend_kind(&instruction_sets).to_owned(),
        device: "cpu".to_owned(),
        threads,
        cores: cores.iter().copied().collect::<cpu::CpuList>().to_string(),
        instruction_sets: instruction_sets.into_iter().map(str::to_owned).collect(),
        environment,
        nice: process::counters(&Roots::default(), std::process::id()).ok().map(|own| own.nice),
        address_space_randomization: randomisation(roots),
        transparent_hugepages: hugepages(roots, cores),
    })
}

/// The engine inherits the personality of lab; what the kernel does not tell stays unknown, and unknown refuses.
fn randomisation(roots: &Roots) -> Option<String> {
    let own = layout::address_space_randomisation(roots, &Roots::default(), std::process::id());
    own.ok().map(str::to_owned)
}

/// A kernel without huge pages is a fact; one that does not tell is not.
fn hugepages(roots: &Roots, cores: &[u32]) -> Option<String> {
    if !roots.sys.join("kernel/mm/transparent_hugepage").exists() {
        return Some("not offered by this kernel".to_owned());
    }
    conditions::probe(roots, cores).transparent_hugepages.value().cloned()
}

fn check_cores(wanted: &[u32], allowed: &[u32], who: &str) -> Result<Vec<u32>> {
    match wanted.iter().find(|core| !allowed.contains(core)) {
        None => Ok(wanted.to_vec()),
        Some(core) => {
            let allowed: cpu::CpuList = allowed.iter().copied().collect();
            Err(Failure::run(anyhow!("the plan pins {who} to core {core}, which this process may not use"))
                .hint(format!("cores it may use: {allowed}")))
        }
    }
}

/// One thread a physical core, as far as the mask reaches: hardware threads of one core share its arithmetic units.
fn default_threads(host: &Cpu, n_cores: usize) -> u32 {
    let threads = host.cores_online.value().map_or(n_cores, |physical| n_cores.min(*physical));
    u32::try_from(threads).unwrap_or(u32::MAX).max(1)
}

fn too_many_threads(threads: u32, n_cores: usize) -> Failure {
    Failure::run(anyhow!("the plan asks for {threads} threads on {n_cores} cores"))
        .hint("threads that share a core wait for each other and measure the scheduler; lower `threads` or widen `cores`")
}

fn environment(threads: u32, kind: &EngineKind) -> BTreeMap<String, String> {
    let foreign = matches!(kind, EngineKind::Command(_)).then_some(&PASSED_TO_FOREIGN);
    let names = PASSED.iter().chain(foreign);
    let passed = names.filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let set = THREAD_VARIABLES.iter().map(|name| ((*name).to_owned(), threads.to_string()));
    passed.chain(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Backend {
        let environment = BTreeMap::from([("OMP_NUM_THREADS".to_owned(), "2".to_owned())]);
        let part = BackendPart {
            kind: "cpu_avx2".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            cores: "0-1".to_owned(),
            instruction_sets: vec!["avx2".to_owned()],
            environment: environment.clone(),
            nice: Some(0),
            address_space_randomization: Some("full".to_owned()),
            transparent_hugepages: Some("madvise".to_owned()),
        };
        Backend { threads: 2, cores: vec![0, 1], environment, part }
    }

    #[test]
    fn a_backend_with_drawn_layouts_is_another_than_any_whose_layout_the_kernel_decides() {
        let drawn = backend().for_pairs(Layouts::Shared).part.record();
        assert_eq!(drawn.identity["address_space_randomization"], "drawn for each pair");
        for by_kernel in ["full", "without heap", "off"] {
            let mut ordinary = backend();
            ordinary.part.address_space_randomization = Some(by_kernel.to_owned());
            assert_ne!(ordinary.part.record().digest(), drawn.digest());
            assert_eq!(ordinary.for_pairs(Layouts::Shared).part.record(), drawn);
        }
    }
}

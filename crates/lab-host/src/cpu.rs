//! What the processor is: name, cores, caches, and what it can compute with.
//!
//! From `cpuinfo` and sysfs, not from CPUID: the kernel has already removed what it or a hypervisor forbids.

mod arm;
mod caches;
mod instruction_sets;
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use caches::{Cache, CacheKind};
pub use instruction_sets::{backend_kind, instruction_sets};
pub use list::{CpuList, InvalidCpuList};

use crate::roots::excerpt;
use crate::{Reading, Roots, Unavailable};

/// Where sysfs describes the CPUs.
const CPUS: &str = "devices/system/cpu";

/// What is known of the processors that are online.
///
/// Where a machine has more than one kind of core, texts name each kind once, joined by ` + `.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The marketing name, such as `AMD EPYC 9354 32-Core Processor`; on ARM the names of the cores.
    pub model_name: Reading<String>,
    /// The vendor as the processor spells it (`GenuineIntel`), or the designer of an ARM core.
    pub vendor: Reading<String>,
    /// The family; on ARM the version of the architecture.
    pub family: Reading<String>,
    /// The model within the family; on ARM the part number, such as `0xd0b`.
    pub model: Reading<String>,
    /// The stepping; on ARM variant and revision, such as `r4p0`.
    pub stepping: Reading<String>,
    /// The threads (logical CPUs) that are online.
    pub online: Reading<CpuList>,
    /// The count of threads (logical CPUs) that are online.
    pub threads_online: Reading<usize>,
    /// The count of physical cores with at least one thread online.
    pub cores_online: Reading<usize>,
    /// The count of sockets with at least one thread online.
    pub sockets: Reading<usize>,
    /// The caches, from the smallest level up.
    pub caches: Reading<Vec<Cache>>,
    /// The feature flags that every processor has, as `cpuinfo` spells them.
    pub flags: Reading<BTreeSet<String>>,
}

impl Cpu {
    /// Returns the instruction sets that matter to inference kernels, from the narrowest to the widest.
    ///
    /// # Errors
    ///
    /// When the flags are unavailable.
    pub fn instruction_sets(&self) -> Result<Vec<&'static str>, Unavailable> {
        self.flags.as_result().map(instruction_sets).map_err(Clone::clone)
    }
}

/// Returns what is known of the processors that are online.
pub fn probe(roots: &Roots) -> Cpu {
    let text = roots.proc_text("cpuinfo");
    let blocks = text.as_deref().map(processors).map_err(Clone::clone);
    let online = online(roots);
    let per_processor = |describe: fn(&Processor<'_>) -> Option<String>, what: &str| -> Reading<String> {
        blocks.clone().and_then(|blocks| joined(roots, &blocks, describe, what)).into()
    };
    Cpu {
        model_name: per_processor(model_name, "the model name of a processor"),
        vendor: per_processor(vendor, "the vendor of a processor"),
        family: per_processor(
            |p| first_of(p, &["cpu family", "CPU architecture"]),
            "the family of a processor",
        ),
        model: per_processor(|p| first_of(p, &["model", "CPU part"]), "the model of a processor"),
        stepping: per_processor(stepping, "the stepping of a processor"),
        threads_online: online.clone().map(|list| list.len()).into(),
        cores_online: online.clone().and_then(|list| cores(roots, &list)).into(),
        sockets: online.clone().and_then(|list| sockets(roots, &list)).into(),
        caches: online.clone().and_then(|list| caches::probe(roots, &list)).into(),
        flags: blocks.and_then(|blocks| common_flags(roots, &blocks)).into(),
        online: online.into(),
    }
}

impl Cpu {
    /// Returns the size of all caches of the last level together, in bytes.
    ///
    /// # Errors
    ///
    /// When the kernel tells none.
    pub fn last_level_cache_bytes(&self) -> Result<u64, Unavailable> {
        let caches = self.caches.as_result().map_err(Clone::clone)?;
        let of_data = caches.iter().filter(|cache| cache.kind != CacheKind::Instruction);
        let last = of_data.max_by_key(|cache| cache.level);
        let last = last.ok_or_else(|| Unavailable::new("the kernel tells no cache of data"))?;
        Ok(last.size_bytes * last.instances as u64)
    }
}

/// Returns the threads (logical CPUs) that are online.
///
/// # Errors
///
/// When neither sysfs nor `cpuinfo` names any.
pub fn online(roots: &Roots) -> Result<CpuList, Unavailable> {
    let path = roots.sys.join(CPUS).join("online");
    let from_sysfs = roots.sys_text(&path).and_then(|text| {
        text.parse::<CpuList>().map_err(|error| Unavailable::new(format!("`{}`: {error}", path.display())))
    });
    match from_sysfs {
        Ok(list) if !list.is_empty() => Ok(list),
        other => online_from_cpuinfo(roots).map_err(|reason| other.err().unwrap_or(reason)),
    }
}

fn online_from_cpuinfo(roots: &Roots) -> Result<CpuList, Unavailable> {
    let text = roots.proc_text("cpuinfo")?;
    let list: CpuList = processors(&text).iter().filter_map(|p| number(p, "processor")).collect();
    if list.is_empty() { Err(missing(roots, "a `processor` line")) } else { Ok(list) }
}

/// The `key: value` lines of one processor.
type Processor<'a> = BTreeMap<&'a str, &'a str>;

/// Splits `cpuinfo` at its `processor` lines. What stands before the first belongs to the machine.
fn processors(text: &str) -> Vec<Processor<'_>> {
    let mut blocks: Vec<Processor<'_>> = Vec::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" {
            blocks.push(BTreeMap::new());
        }
        if let Some(block) = blocks.last_mut().filter(|_| !value.is_empty()) {
            block.insert(key, value);
        }
    }
    blocks
}

/// Returns what `describe` says of each processor, each answer once, in order of appearance.
fn joined(
    roots: &Roots,
    blocks: &[Processor<'_>],
    describe: fn(&Processor<'_>) -> Option<String>,
    what: &str,
) -> Result<String, Unavailable> {
    let mut answers: Vec<String> = Vec::new();
    for block in blocks {
        let answer = describe(block).ok_or_else(|| missing(roots, what))?;
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    if answers.is_empty() { Err(missing(roots, what)) } else { Ok(answers.join(" + ")) }
}

fn model_name(processor: &Processor<'_>) -> Option<String> {
    first_of(processor, &["model name"]).or_else(|| arm::core_name(processor))
}

fn vendor(processor: &Processor<'_>) -> Option<String> {
    first_of(processor, &["vendor_id"]).or_else(|| arm::designer(processor))
}

fn stepping(processor: &Processor<'_>) -> Option<String> {
    first_of(processor, &["stepping"]).or_else(|| arm::stepping(processor))
}

fn first_of(processor: &Processor<'_>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| processor.get(key)).map(|value| (*value).to_owned())
}

fn number<T: FromStr>(processor: &Processor<'_>, key: &str) -> Option<T> {
    processor.get(key)?.parse().ok()
}

/// A flag counts only when every processor has it: a thread may be moved to any of them.
fn common_flags(roots: &Roots, blocks: &[Processor<'_>]) -> Result<BTreeSet<String>, Unavailable> {
    let flags_of = |processor: &Processor<'_>| -> Option<BTreeSet<String>> {
        let line = processor.get("flags").or_else(|| processor.get("Features"))?;
        Some(line.split_whitespace().map(str::to_owned).collect())
    };
    let all: Option<Vec<_>> = blocks.iter().map(flags_of).collect();
    let common = all.and_then(|sets| sets.into_iter().reduce(|one, two| &one & &two));
    common.ok_or_else(|| missing(roots, "the flags of a processor"))
}

/// Threads of one core name the same list of siblings.
fn cores(roots: &Roots, online: &CpuList) -> Result<usize, Unavailable> {
    // `thread_siblings_list` is the name that kernels before 5.2 know, and newer ones keep.
    topology(roots, online, "core_cpus_list")
        .or_else(|reason| topology(roots, online, "thread_siblings_list").map_err(|_| reason))
        .map(|siblings| siblings.len())
}

fn sockets(roots: &Roots, online: &CpuList) -> Result<usize, Unavailable> {
    let packages = topology(roots, online, "physical_package_id")?;
    if packages.iter().any(|package| package.parse::<u32>().is_err()) {
        // Firmware of some ARM boards does not say; the kernel then writes -1.
        let first = packages.first().map(String::as_str).unwrap_or_default();
        return Err(Unavailable::new(format!("`{}` is no number of a socket", excerpt(first))));
    }
    Ok(packages.len())
}

/// Returns the different contents of one topology file over the CPUs that are online.
fn topology(roots: &Roots, online: &CpuList, file: &str) -> Result<BTreeSet<String>, Unavailable> {
    online.iter().map(|cpu| roots.sys_text(format!("{CPUS}/cpu{cpu}/topology/{file}"))).collect()
}

fn missing(roots: &Roots, what: &str) -> Unavailable {
    Unavailable::content(&roots.proc.join("cpuinfo"), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_splits_at_its_processor_lines() {
        let text = "Processor\t: ARMv7\nprocessor\t: 0\nmodel name : a: b\nbugs\t:\n\nprocessor : 3\n";
        let blocks = processors(text);
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].get("model name"), Some(&"a: b"));
        assert_eq!(blocks[0].get("bugs"), None);
        assert_eq!(number(&blocks[1], "processor"), Some(3));
    }

    #[test]
    fn a_flag_that_one_processor_lacks_does_not_count() {
        let roots = Roots::default();
        let blocks = processors("processor: 0\nflags: avx avx2 avx512f\nprocessor: 1\nflags: avx2 avx\n");
        assert_eq!(common_flags(&roots, &blocks).unwrap(), ["avx", "avx2"].map(str::to_owned).into());
        let half = processors("processor: 0\nflags: avx\nprocessor: 1\n");
        assert!(common_flags(&roots, &half).is_err());
    }

    #[test]
    fn this_machines_processor_adds_up() {
        let cpu = probe(&Roots::default());
        let online = cpu.online.into_result().unwrap();
        let threads = cpu.threads_online.into_result().unwrap();
        assert_eq!(threads, online.len());
        assert!(std::thread::available_parallelism().unwrap().get() <= threads);
        assert!(!cpu.model_name.into_result().unwrap().is_empty());
        if let Some(cores) = cpu.cores_online.value() {
            assert!((1..=threads).contains(cores));
            assert!(cpu.sockets.value().is_none_or(|sockets| (1..=*cores).contains(sockets)));
        }
        for cache in cpu.caches.value().into_iter().flatten() {
            assert!(cache.size_bytes >= 1024 && (1..=threads).contains(&cache.shared_by), "{cache:?}");
            assert!(cache.instances * cache.shared_by <= threads, "{cache:?}");
        }
    }

    #[test]
    fn this_machines_instruction_sets_are_those_the_compiler_sees() {
        let cpu = probe(&Roots::default());
        let sets = cpu.instruction_sets().unwrap();
        #[cfg(target_arch = "x86_64")]
        for (set, seen) in [
            ("sse4_2", is_x86_feature_detected!("sse4.2")),
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512_vnni", is_x86_feature_detected!("avx512vnni")),
        ] {
            assert_eq!(sets.contains(&set), seen, "{set}");
        }
        assert_ne!(backend_kind(&sets), "cpu");
    }
}

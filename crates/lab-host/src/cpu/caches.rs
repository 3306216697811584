//! The caches, as sysfs describes them for each CPU.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CPUS, CpuList};
use crate::roots::{entries, excerpt, read_number, read_text};
use crate::text::size_with_suffix;
use crate::{Roots, Unavailable};

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheKind {
    /// Data only.
    Data,
    /// Instructions only.
    Instruction,
    /// Both.
    Unified,
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Instruction => "instruction",
            Self::Unified => "unified",
        })
    }
}

/// All caches of one level, kind, size and degree of sharing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// 1 for the level nearest to the core.
    pub level: u8,
    /// What it holds.
    pub kind: CacheKind,
    /// The size of one such cache in bytes.
    pub size_bytes: u64,
    /// The count of online threads that share one such cache.
    pub shared_by: usize,
    /// The count of such caches.
    pub instances: usize,
}

type Shape = (u8, CacheKind, u64, usize);

/// Returns the caches of the CPUs that are online, sorted by level, kind and size.
pub(super) fn probe(roots: &Roots, online: &CpuList) -> Result<Vec<Cache>, Unavailable> {
    // Every CPU lists the caches it reaches, so a shared one turns up once for each of its sharers.
    let mut seen: BTreeMap<Shape, BTreeSet<CpuList>> = BTreeMap::new();
    for cpu in online.iter() {
        let directory = roots.sys.join(format!("{CPUS}/cpu{cpu}/cache"));
        for index in entries(&directory, "index")? {
            let (shape, sharers) = read_cache(&index)?;
            seen.entry(shape).or_default().insert(sharers);
        }
    }
    if seen.is_empty() {
        return Err(Unavailable::new(format!("`{}` describes no cache", roots.sys.join(CPUS).display())));
    }
    let caches = seen.into_iter().map(|((level, kind, size_bytes, shared_by), instances)| Cache {
        level,
        kind,
        size_bytes,
        shared_by,
        instances: instances.len(),
    });
    Ok(caches.collect())
}

fn read_cache(index: &Path) -> Result<(Shape, CpuList), Unavailable> {
    let level = read_number(&index.join("level"))?;
    let kind = parse_with(&index.join("type"), "a type of cache", parse_kind)?;
    let size = parse_with(&index.join("size"), "a size", size_with_suffix)?;
    let sharers: CpuList =
        parse_with(&index.join("shared_cpu_list"), "a CPU list", |text| text.parse().ok())?;
    Ok(((level, kind, size, sharers.len()), sharers))
}

fn parse_with<T>(path: &Path, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Unavailable> {
    let text = read_text(path)?;
    parse(&text).ok_or_else(|| Unavailable::content(path, &format!("{what}, but `{}`", excerpt(&text))))
}

fn parse_kind(text: &str) -> Option<CacheKind> {
    Some(match text {
        "Data" => CacheKind::Data,
        "Instruction" => CacheKind::Instruction,
        "Unified" => CacheKind::Unified,
        _ => return None,
    })
}

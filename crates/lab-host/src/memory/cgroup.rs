//! What this process's control groups bound and count, versions 1 and 2: memory, and the time that a CPU quota took.
//!
//! `/proc/self/cgroup` names the group, `/proc/self/mountinfo` says where the hierarchy is mounted and which group
//! is the root of that mount. In a container the two may speak of different name spaces; the group is then the
//! root of the mount itself.

use std::path::{Path, PathBuf};

use lab_core::observation::CgroupUse;
use serde::{Deserialize, Serialize};

use crate::reading::recorded;
use crate::roots::{read_number, read_text};
use crate::{Roots, Unavailable};

/// Version 1 writes "no limit" as the largest count of pages in bytes, which depends on the page size (`PAGE_COUNTER_MAX`,
/// Linux `include/linux/page_counter.h`). This is that bound for the largest page size, 64 KiB.
const NO_LIMIT_FROM: u64 = 0x7fff_ffff_ffff_0000;

/// The lowest memory limit on the way from this process's control group to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// The file that sets it.
    pub file: PathBuf,
}

/// Returns the memory limit of this process's control group: the lowest of those of the group and its ancestors.
///
/// # Errors
///
/// When nothing limits it, or the control groups cannot be read.
pub fn cgroup_limit(roots: &Roots) -> Result<CgroupLimit, Unavailable> {
    lowest_limit(&Membership::read(roots)?.hierarchies(roots, "memory"))
}

/// Returns what this process's control groups bound and have counted so far.
pub(crate) fn cgroup_use(roots: &Roots) -> CgroupUse {
    let membership = Membership::read(roots);
    let with = |controller| membership.clone().map(|groups| groups.hierarchies(roots, controller));
    let (memory, cpu) = (with("memory"), with("cpu"));
    let limit = memory.as_ref().map_err(Clone::clone).and_then(|memory| lowest_limit(memory));
    CgroupUse {
        memory_limit_bytes: recorded(limit.map(|limit| limit.bytes)),
        memory_peak_bytes: recorded(memory.and_then(|memory| memory_peak(&memory))),
        throttled_us: recorded(cpu.and_then(|cpu| throttled_us(&cpu))),
    }
}

/// What the kernel says about where this process belongs.
#[derive(Clone)]
struct Membership {
    /// The groups, one line a hierarchy.
    groups: String,
    /// What is mounted where.
    mounts: String,
}

impl Membership {
    fn read(roots: &Roots) -> Result<Self, Unavailable> {
        Ok(Self { groups: roots.proc_text("self/cgroup")?, mounts: roots.proc_text("self/mountinfo")? })
    }

    /// Returns where a controller's files may lie: its own hierarchy of version 1, and version 2's, which has every
    /// controller that version 1 has not.
    fn hierarchies(&self, roots: &Roots, controller: &str) -> Vec<Hierarchy> {
        [self.version_1(roots, controller), self.version_2(roots)].into_iter().flatten().collect()
    }

    fn version_1(&self, roots: &Roots, controller: &str) -> Option<Hierarchy> {
        let names_it = |list: &str| list.split(',').any(|name| name == controller);
        let group = group_of(&self.groups, names_it)?;
        let mut mounts = self.mounts.lines().filter_map(Mount::parse);
        let mount = mounts.find(|mount| mount.kind == "cgroup" && names_it(mount.super_options))?;
        hierarchy(roots, &mount, group, Version::One)
    }

    fn version_2(&self, roots: &Roots) -> Option<Hierarchy> {
        let group = group_of(&self.groups, str::is_empty)?;
        let mut mounts = self.mounts.lines().filter_map(Mount::parse);
        hierarchy(roots, &mounts.find(|mount| mount.kind == "cgroup2")?, group, Version::Two)
    }
}

/// Which of the two interfaces a hierarchy speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where one hierarchy keeps its groups.
struct Hierarchy {
    version: Version,
    /// Where it is mounted, below the roots.
    mount: PathBuf,
    /// This process's group, relative to the mount.
    group: PathBuf,
}

impl Hierarchy {
    /// Returns the directories of the group and of its ancestors, the group first.
    fn way_to_the_root(&self) -> impl Iterator<Item = PathBuf> {
        self.group.ancestors().map(|group| self.mount.join(group))
    }
}

fn lowest_limit(hierarchies: &[Hierarchy]) -> Result<CgroupLimit, Unavailable> {
    if hierarchies.is_empty() {
        return Err(Unavailable::new("no control group hierarchy with a memory controller is mounted"));
    }
    let lowest = hierarchies.iter().flat_map(limits).min_by_key(|limit| limit.bytes);
    lowest.ok_or_else(|| Unavailable::new("no control group limits the memory of this process"))
}

/// Returns the limits of a group and of its ancestors. The root of a hierarchy has no limit file in version 2.
fn limits(hierarchy: &Hierarchy) -> Vec<CgroupLimit> {
    let name = match hierarchy.version {
        Version::One => "memory.limit_in_bytes",
        Version::Two => "memory.max",
    };
    let files = hierarchy.way_to_the_root().map(|group| group.join(name));
    files
        .filter_map(|file| Some(CgroupLimit { bytes: parse_limit(&read_text(&file).ok()?)?, file }))
        .collect()
}

/// Returns the greatest use of memory of the group, in bytes; of the mount's root where the group lies outside the
/// mount.
fn memory_peak(hierarchies: &[Hierarchy]) -> Result<u64, Unavailable> {
    let peak = |hierarchy: &Hierarchy| {
        let name = match hierarchy.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        let group = hierarchy.way_to_the_root().find(|group| group.is_dir())?;
        read_number(&group.join(name)).ok()
    };
    let first = hierarchies.iter().find_map(peak);
    first.ok_or_else(|| Unavailable::new("the control group of this process counts no peak of its memory"))
}

/// Returns the time in which a CPU quota kept the group from running, in microseconds. A quota may be set anywhere on
/// the way to the root, and each group counts for its own quota only: the sum counts.
fn throttled_us(hierarchies: &[Hierarchy]) -> Result<u64, Unavailable> {
    let counts: Vec<u64> = hierarchies.iter().flat_map(throttled_each_us).collect();
    if counts.is_empty() {
        return Err(Unavailable::new("no control group of this process counts what its CPU quota took"));
    }
    Ok(counts.into_iter().fold(0, u64::saturating_add))
}

fn throttled_each_us(hierarchy: &Hierarchy) -> Vec<u64> {
    // Nanoseconds in version 1 (Documentation/scheduler/sched-bwc.rst), microseconds in version 2 (cgroup-v2.rst).
    let (name, per_us) = match hierarchy.version {
        Version::One => ("throttled_time ", 1000),
        Version::Two => ("throttled_usec ", 1),
    };
    let count =
        |text: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let files = hierarchy.way_to_the_root().map(|group| group.join("cpu.stat"));
    files.filter_map(|file| Some(count(&read_text(&file).ok()?)? / per_us)).collect()
}

/// Returns the path of the group in the first line `number:controllers:path` whose controllers fit (cgroups(7)).
fn group_of(groups: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        fits(controllers).then_some(path)
    })
}

fn hierarchy(roots: &Roots, mount: &Mount<'_>, group: &str, version: Version) -> Option<Hierarchy> {
    let below_mount = Path::new(group).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let climbs_out = below_mount.components().any(|part| part == std::path::Component::ParentDir);
    let group = if climbs_out { PathBuf::new() } else { below_mount.to_owned() };
    Some(Hierarchy { version, mount: roots.locate(&mount.point)?, group })
}

/// Returns a limit in bytes, or nothing for version 2's `max`, version 1's largest number, and garbage.
fn parse_limit(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| *bytes < NO_LIMIT_FROM)
}

/// The parts of a mountinfo line that matter here (proc(5)).
struct Mount<'a> {
    /// Which directory of the file system is mounted.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
    /// The type of the file system.
    kind: &'a str,
    /// Its own options, which name the controllers of a version 1 hierarchy.
    super_options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let kind = file_system.next()?;
        let super_options = file_system.nth(1)?;
        Some(Self { root: unescape(root), point: unescape(point), kind, super_options })
    }
}

/// Undoes mountinfo's octal escapes of the four characters that would break its lines.
fn unescape(path: &str) -> PathBuf {
    let plain = path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    plain.replace("\\134", "\\").into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lab_core::metric::Reading;

    use super::*;

    /// Builds a tree with the given group line, mountinfo line and limit files.
    fn tree(group: &str, mount: &str, limits: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        let roots = Roots::new(directory.path().join("proc"), directory.path().join("sys"));
        fs::create_dir_all(roots.proc.join("self")).unwrap();
        fs::write(roots.proc.join("self/cgroup"), group).unwrap();
        fs::write(roots.proc.join("self/mountinfo"), mount).unwrap();
        for (file, limit) in limits {
            let file = roots.sys.join("fs/cgroup").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        }
        (directory, roots)
    }

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n31 1 0:4 / /x rw - tmpfs t rw";

    #[test]
    fn the_lowest_limit_on_the_way_to_the_root_counts() {
        let (_directory, roots) = tree(
            "0::/user.slice/user-1000.slice/run.scope\n",
            V2,
            &[
                ("user.slice/user-1000.slice/run.scope/memory.max", "max\n"),
                ("user.slice/user-1000.slice/memory.max", "4294967296\n"),
                ("user.slice/memory.max", "8589934592\n"),
            ],
        );
        let limit = cgroup_limit(&roots).unwrap();
        assert_eq!(limit.bytes, 4 << 30);
        assert!(limit.file.ends_with("user.slice/user-1000.slice/memory.max"));
    }

    #[test]
    fn the_mount_root_is_taken_off_the_group_in_version_1() {
        let groups = "5:cpu,cpuacct:/x\n4:memory:/docker/ab/inner\n0::/\n";
        let limits =
            [("memory/memory.limit_in_bytes", "1048576"), ("memory/inner/memory.limit_in_bytes", "4096")];
        let (_directory, roots) = tree(groups, V1, &limits);
        assert_eq!(cgroup_limit(&roots).unwrap().bytes, 4096);
    }

    #[test]
    fn a_group_outside_the_mount_falls_back_to_the_mount() {
        for group in ["0::/../../other", "0::/gone"] {
            let (_directory, roots) = tree(group, V2, &[("memory.max", "777216")]);
            assert_eq!(cgroup_limit(&roots).unwrap().bytes, 777_216, "{group}");
        }
    }

    #[test]
    fn no_limit_is_unavailable_and_says_why() {
        let unlimited = [("memory/memory.limit_in_bytes", "9223372036854771712")];
        for (groups, mount, limits, reason) in [
            ("4:memory:/docker/ab", V1, &unlimited[..], "no control group limits the memory of this process"),
            ("0::/", V2, &[("memory.max", "max")], "no control group limits the memory of this process"),
            ("0::/", V2, &[("memory.max", "plenty")], "no control group limits the memory of this process"),
            ("0::/", "garbage", &[], "no control group hierarchy with a memory controller is mounted"),
            ("garbage", V2, &[], "no control group hierarchy with a memory controller is mounted"),
        ] {
            let (_directory, roots) = tree(groups, mount, limits);
            assert_eq!(cgroup_limit(&roots).unwrap_err().reason, reason, "{groups} {mount}");
        }
    }

    #[test]
    fn a_quota_anywhere_on_the_way_to_the_root_counts_and_the_peak_is_the_groups_own() {
        let (_directory, roots) = tree(
            "0::/a/b\n",
            V2,
            &[
                ("a/b/cpu.stat", "usage_usec 7\nthrottled_usec 40\n"),
                ("a/cpu.stat", "usage_usec 9\nnr_throttled 3\nthrottled_usec 2\n"),
                ("cpu.stat", "usage_usec 9\n"),
                ("a/b/memory.peak", "5000\n"),
                ("a/memory.peak", "9000\n"),
            ],
        );
        let used = cgroup_use(&roots);
        assert_eq!((used.throttled_us, used.memory_peak_bytes), (Reading::Value(42), Reading::Value(5000)));
        let reason = used.memory_limit_bytes.reason().unwrap().to_owned();
        assert_eq!(reason, "no control group limits the memory of this process");
    }

    #[test]
    fn version_1_counts_in_nanoseconds_and_in_files_of_its_own() {
        let groups = "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n";
        let mounts = format!(
            "{V1}\n36 31 0:33 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n{V2}"
        );
        let files = [
            ("cpu,cpuacct/cpu.stat", "nr_periods 9\nnr_throttled 2\nthrottled_time 123456789\n"),
            ("memory/memory.max_usage_in_bytes", "8192"),
            ("cpu.stat", "usage_usec 9\n"),
        ];
        let (_directory, roots) = tree(groups, &mounts, &files);
        let used = cgroup_use(&roots);
        assert_eq!(
            (used.throttled_us, used.memory_peak_bytes),
            (Reading::Value(123_456), Reading::Value(8192))
        );
    }

    #[test]
    fn a_group_that_counts_nothing_says_so() {
        let (_directory, roots) =
            tree("0::/", V2, &[("memory.peak", "much"), ("cpu.stat", "throttled_usec -1")]);
        let used = cgroup_use(&roots);
        let (peak, throttled) = (used.memory_peak_bytes, used.throttled_us);
        assert_eq!(peak.reason(), Some("the control group of this process counts no peak of its memory"));
        assert_eq!(
            throttled.reason(),
            Some("no control group of this process counts what its CPU quota took")
        );
    }

    #[test]
    fn a_mount_point_with_a_space_is_understood() {
        let mount = Mount::parse(r"30 23 0:26 / /sys/my\040group rw - cgroup2 cgroup2 rw").unwrap();
        assert_eq!((mount.point, mount.kind), (PathBuf::from("/sys/my group"), "cgroup2"));
        assert!(Mount::parse("30 23 0:26 / - cgroup2").is_none());
    }

    #[test]
    fn this_process_has_a_limit_or_the_reason_for_none() {
        match cgroup_limit(&Roots::default()) {
            Ok(limit) => assert!(limit.bytes > 1 << 20 && limit.file.exists(), "{limit:?}"),
            Err(reason) => assert!(reason.reason.starts_with("no control group"), "{reason}"),
        }
    }
}

//! The memory limit that this process's control group sets, versions 1 and 2.
//!
//! `/proc/self/cgroup` names the group, `/proc/self/mountinfo` says where the hierarchy is mounted and which group
//! is the root of that mount. In a container the two may speak of different name spaces; the group is then the
//! root of the mount itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::roots::read_text;
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

/// Where one version keeps its groups and its limits.
struct Hierarchy {
    /// The file with the limit in each group.
    file: &'static str,
    /// Where the hierarchy is mounted, below the roots.
    mount: PathBuf,
    /// This process's group, relative to the mount.
    group: PathBuf,
}

/// Returns the memory limit of this process's control group: the lowest of those of the group and its ancestors.
///
/// # Errors
///
/// When nothing limits it, or the control groups cannot be read.
pub fn cgroup_limit(roots: &Roots) -> Result<CgroupLimit, Unavailable> {
    let groups = roots.proc_text("self/cgroup")?;
    let mounts = roots.proc_text("self/mountinfo")?;
    let hierarchies: Vec<_> = [version_1(roots, &groups, &mounts), version_2(roots, &groups, &mounts)]
        .into_iter()
        .flatten()
        .collect();
    if hierarchies.is_empty() {
        return Err(Unavailable::new("no control group hierarchy with a memory controller is mounted"));
    }
    let limits = hierarchies.iter().flat_map(limits);
    limits
        .min_by_key(|limit| limit.bytes)
        .ok_or_else(|| Unavailable::new("no control group limits the memory of this process"))
}

fn version_1(roots: &Roots, groups: &str, mounts: &str) -> Option<Hierarchy> {
    let group = group_of(groups, |controllers| controllers.split(',').any(|name| name == "memory"))?;
    let mount = mounts.lines().filter_map(Mount::parse).find(|mount| {
        mount.kind == "cgroup" && mount.super_options.split(',').any(|option| option == "memory")
    })?;
    hierarchy(roots, &mount, group, "memory.limit_in_bytes")
}

fn version_2(roots: &Roots, groups: &str, mounts: &str) -> Option<Hierarchy> {
    let group = group_of(groups, str::is_empty)?;
    let mount = mounts.lines().filter_map(Mount::parse).find(|mount| mount.kind == "cgroup2")?;
    hierarchy(roots, &mount, group, "memory.max")
}

/// Returns the path of the group in the first line `number:controllers:path` whose controllers fit (cgroups(7)).
fn group_of(groups: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        fits(controllers).then_some(path)
    })
}

fn hierarchy(roots: &Roots, mount: &Mount<'_>, group: &str, file: &'static str) -> Option<Hierarchy> {
    let below_mount = Path::new(group).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let climbs_out = below_mount.components().any(|part| part == std::path::Component::ParentDir);
    let group = if climbs_out { PathBuf::new() } else { below_mount.to_owned() };
    Some(Hierarchy { file, mount: roots.locate(&mount.point)?, group })
}

/// Returns the limits of a group and of its ancestors. The root of a hierarchy has no limit file in version 2.
fn limits(hierarchy: &Hierarchy) -> Vec<CgroupLimit> {
    let files = hierarchy.group.ancestors().map(|group| hierarchy.mount.join(group).join(hierarchy.file));
    files
        .filter_map(|file| Some(CgroupLimit { bytes: parse_limit(&read_text(&file).ok()?)?, file }))
        .collect()
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

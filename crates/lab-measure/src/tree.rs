//! The resident memory of a process and of all its descendants, from procfs.
//!
//! Children are listed by `/proc/<pid>/task/<tid>/children` where the kernel has that file
//! (`CONFIG_PROC_CHILDREN`), and are found among all processes by their parent otherwise. A descendant stays one
//! when its parent has ended before it. A process that ends while it is looked at is left out and is no error; one
//! that has taken over the number of another is told from it by its start time.
//!
//! Memory is what the kernel calls resident (`VmRSS`). Pages that several processes share count once for each of
//! them, and the kernel sums its counts lazily: a figure may be off by some hundred kB a CPU
//! (Documentation/filesystems/proc.rst).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitOptions, waitpid};

/// One process, told from others that have had its number before or will have it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `stat`, proc(5)).
    pub started: u64,
}

/// The memory of one process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// The process.
    pub process: Identity,
    /// What is resident now, in bytes.
    pub resident_bytes: u64,
    /// The most that was ever resident since the process became its program (`VmHWM`), in bytes; none where the
    /// kernel does not say.
    pub peak_bytes: Option<u64>,
}

/// A process and its descendants.
#[derive(Debug)]
pub struct Tree {
    procfs: PathBuf,
    root: Option<Identity>,
    known: BTreeSet<Identity>,
    /// Processes that are none of the tree, nor is what they start.
    spared: BTreeSet<Identity>,
    has_children_files: bool,
    adopts: bool,
}

impl Tree {
    /// Returns the tree below a process. One that does not exist has no memory, now or later.
    ///
    /// `procfs` is where procfs is mounted: `/proc` on a real machine.
    pub fn new(procfs: impl Into<PathBuf>, pid: u32) -> Self {
        let procfs = procfs.into();
        let root = Stat::read(&procfs, pid).map(|stat| stat.process);
        let known = root.into_iter().collect();
        let number = pid.to_string();
        let has_children_files = procfs.join(&number).join("task").join(&number).join("children").exists();
        Self { procfs, root, known, spared: BTreeSet::new(), has_children_files, adopts: false }
    }

    /// Returns the processes of the tree that are alive and have memory, in the order of their numbers.
    ///
    /// Descendants are remembered from look to look, so that those whose parent ends in between are not lost.
    /// One that is met for the first time between fork and exec counts from the next look on: until then it has the memory of
    /// its parent.
    pub fn look(&mut self) -> Vec<Resident> {
        let living = self.living();
        let before = std::mem::replace(&mut self.known, living);
        let is_new = |process: &Identity| !before.contains(process);
        self.known.iter().filter_map(|process| self.resident(*process, is_new(process))).collect()
    }

    /// Leaves the descendants of now out of the tree, and all that they will start.
    pub(crate) fn spare_descendants(&mut self) {
        self.spared = self.descendants().into_iter().collect();
        self.known.retain(|process| !self.spared.contains(process));
    }

    /// Spares what those that are spared have started since.
    fn spare_more(&mut self) {
        let mut pending: Vec<Identity> =
            self.spared.iter().copied().filter(|process| self.is_alive(*process)).collect();
        let scanned = (!self.has_children_files && !pending.is_empty()).then(|| self.scan());
        while let Some(process) = pending.pop() {
            for child in self.started_by(process.pid, scanned.as_ref()) {
                if self.spared.insert(child) {
                    pending.push(child);
                }
            }
        }
    }

    /// Says whether this process adopts the orphans of the tree, and waits for no other child than the root while it is watched.
    pub(crate) fn adopting(self, adopts: bool) -> Self {
        Self { adopts, ..self }
    }

    /// Waits for the children of this process that have ended, where it adopts orphans: those are nobody else's to wait for, and
    /// each holds a number. The root is left to whoever started it.
    pub(crate) fn wait_for_adopted(&self) {
        if !self.adopts {
            return;
        }
        let own = std::process::id();
        let scanned = (!self.has_children_files).then(|| self.scan());
        let children = self.started_by(own, scanned.as_ref());
        let ended = children.into_iter().filter(|child| Some(*child) != self.root && self.has_ended(*child));
        for pid in ended.filter_map(number) {
            let _status = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    /// Returns the descendants that are there, in the order of their numbers. Those that have ended and were not waited for are
    /// there, too.
    pub(crate) fn descendants(&mut self) -> Vec<Identity> {
        self.spare_more();
        self.known = self.living();
        self.known.iter().copied().filter(|process| Some(*process) != self.root).collect()
    }

    /// Returns whether a process is there and is the same. One that has ended and was not waited for is.
    pub(crate) fn is_alive(&self, process: Identity) -> bool {
        Stat::read(&self.procfs, process.pid).is_some_and(|stat| stat.process == process)
    }

    /// Returns whether a process has ended.
    pub(crate) fn has_ended(&self, process: Identity) -> bool {
        let stat = Stat::read(&self.procfs, process.pid).filter(|stat| stat.process == process);
        stat.is_none_or(|stat| stat.has_ended)
    }

    fn living(&self) -> BTreeSet<Identity> {
        let scanned = (!self.has_children_files).then(|| self.scan());
        let mut pending: Vec<Identity> =
            self.known.iter().copied().filter(|process| self.is_alive(*process)).collect();
        let mut living = BTreeSet::new();
        while let Some(process) = pending.pop() {
            if self.spared.contains(&process) || !living.insert(process) {
                continue;
            }
            pending.extend(self.started_by(process.pid, scanned.as_ref()));
        }
        living
    }

    fn started_by(&self, parent: u32, scanned: Option<&BTreeMap<u32, Vec<Identity>>>) -> Vec<Identity> {
        match scanned {
            Some(children) => children.get(&parent).cloned().unwrap_or_default(),
            None => self.children(parent),
        }
    }

    /// Returns all processes of the machine by their parents.
    fn scan(&self) -> BTreeMap<u32, Vec<Identity>> {
        let mut children: BTreeMap<u32, Vec<Identity>> = BTreeMap::new();
        for stat in numbers_in(&self.procfs).into_iter().filter_map(|pid| Stat::read(&self.procfs, pid)) {
            children.entry(stat.parent).or_default().push(stat.process);
        }
        children
    }

    /// Returns the children that the threads of a process have started.
    fn children(&self, parent: u32) -> Vec<Identity> {
        let tasks = self.procfs.join(parent.to_string()).join("task");
        let listed = numbers_in(&tasks)
            .into_iter()
            .filter_map(|thread| text(&tasks.join(thread.to_string()).join("children")))
            .flat_map(|list| numbers(&list));
        // Between the list and now, a child may have ended and its number gone to a stranger.
        let is_child = |stat: &Stat| stat.parent == parent;
        let stats = listed.filter_map(|pid| Stat::read(&self.procfs, pid));
        stats.filter(is_child).map(|stat| stat.process).collect()
    }

    fn resident(&self, process: Identity, is_new: bool) -> Option<Resident> {
        let resident_bytes = resident_memory(&self.procfs, process.pid)?;
        let peak_bytes = peak_memory(&self.procfs, process.pid);
        // Asked last, so that the figures are of this process. One that waits for its parent has no memory any more.
        let stat = Stat::read(&self.procfs, process.pid).filter(|stat| stat.process == process)?;
        let is_fit = resident_bytes > 0 && !(is_new && stat.is_before_exec);
        is_fit.then_some(Resident { process, resident_bytes, peak_bytes })
    }
}

/// Returns the number of a process as system calls take it.
pub(crate) fn number(process: Identity) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process.pid).ok()?)
}

/// Returns the most that was ever resident of a process, in bytes.
pub(crate) fn peak_memory(procfs: &Path, pid: u32) -> Option<u64> {
    let status = text(&procfs.join(pid.to_string()).join("status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// `size resident shared …`, in pages (proc(5), `statm`).
fn resident_memory(procfs: &Path, pid: u32) -> Option<u64> {
    let statm = text(&procfs.join(pid.to_string()).join("statm"))?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes())
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).expect("a page is smaller than 2^64 bytes")
}

/// The columns of `/proc/<pid>/stat` that matter here.
struct Stat {
    process: Identity,
    parent: u32,
    /// Whether it has ended, and waits for its parent to take its status.
    has_ended: bool,
    /// Whether it was forked and has executed no program since.
    is_before_exec: bool,
}

/// `PF_FORKNOEXEC` of the kernel's `include/linux/sched.h`.
const FORKED: u32 = 0x40;

impl Stat {
    fn read(procfs: &Path, pid: u32) -> Option<Self> {
        Self::parse(pid, &text(&procfs.join(pid.to_string()).join("stat"))?)
    }

    /// The second column is the program's name in parentheses, and may itself hold parentheses and spaces: what
    /// counts is the last one. Behind it follow the columns from the third on (proc(5), counted from 1).
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let columns: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let column = |number: usize| columns.get(number - 3);
        let started = column(22)?.parse().ok()?;
        let flags: u32 = column(9)?.parse().ok()?;
        let parent = column(4)?.parse().ok()?;
        // Zombie, and dead (proc(5), `state`); a process whose first thread has ended goes on while it has others.
        let n_threads: u32 = column(20)?.parse().ok()?;
        let has_ended = matches!(*column(3)?, "Z" | "X") && n_threads <= 1;
        let is_before_exec = flags & FORKED != 0;
        Some(Self { process: Identity { pid, started }, parent, has_ended, is_before_exec })
    }
}

/// Returns what a file holds, if it is still there. A program's name need not be UTF-8.
fn text(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Returns the entries of a folder whose names are numbers; none where the folder is gone.
fn numbers_in(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A procfs made of files.
    struct Procfs(tempfile::TempDir);

    impl Procfs {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn root(&self) -> &Path {
            self.0.path()
        }

        fn write(&self, relative: &str, text: &str) {
            let path = self.root().join(relative);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A process that started at `started` and has `pages` pages, its peak three pages above.
        fn process(&self, pid: u32, parent: u32, started: u64, pages: u64) {
            self.flagged(pid, parent, started, pages, 0);
        }

        fn flagged(&self, pid: u32, parent: u32, started: u64, pages: u64, flags: u32) {
            let (front, behind) = ("0 ".repeat(4), "0 ".repeat(12));
            let stat = format!("{pid} (a ) b) S {parent} {front}{flags} {behind}{started} 0 0\n");
            self.write(&format!("{pid}/stat"), &stat);
            self.write(&format!("{pid}/statm"), &format!("{} {pages} 1 1 0 1 0\n", pages * 2));
            let peak = (pages + 3) * page_bytes() / 1024;
            self.write(&format!("{pid}/status"), &format!("Name:\ta\nVmHWM:\t{peak:>8} kB\nVmRSS:\t 1 kB\n"));
        }

        fn children(&self, pid: u32, thread: u32, list: &str) {
            self.write(&format!("{pid}/task/{thread}/children"), list);
        }

        fn stat(&self, pid: u32) -> String {
            fs::read_to_string(self.root().join(format!("{pid}/stat"))).unwrap()
        }

        fn end(&self, pid: u32) {
            fs::remove_dir_all(self.root().join(pid.to_string())).unwrap();
        }

        fn tree(&self, pid: u32) -> Tree {
            Tree::new(self.root(), pid)
        }
    }

    /// Process numbers and pages.
    fn pages(tree: &mut Tree) -> Vec<(u32, u64)> {
        tree.look().iter().map(|own| (own.process.pid, own.resident_bytes / page_bytes())).collect()
    }

    /// A family: 10 is the root, 11 and 12 its children of different threads, 13 a child of 12; 20 is a stranger.
    fn family() -> Procfs {
        let procfs = Procfs::new();
        for (pid, parent, started, pages) in
            [(10, 1, 100, 7), (11, 10, 101, 20), (12, 10, 102, 300), (13, 12, 103, 4000), (20, 1, 50, 9)]
        {
            procfs.process(pid, parent, started, pages);
        }
        procfs
    }

    fn with_children_files(procfs: &Procfs) {
        procfs.children(10, 10, "11 ");
        procfs.children(10, 15, "12 ");
        procfs.children(11, 11, "");
        procfs.children(12, 12, "13 \n");
        procfs.children(13, 13, "");
    }

    #[test]
    fn a_child_that_executes_nothing_yet_counts_from_the_second_look_on() {
        let procfs = Procfs::new();
        procfs.flagged(1, 0, 5, 10, FORKED);
        let mut tree = Tree::new(procfs.root(), 1);
        assert_eq!(tree.look().len(), 1, "the root is what is measured");
        procfs.flagged(2, 1, 6, 10, FORKED);
        assert_eq!(tree.look().len(), 1);
        assert_eq!(tree.look().len(), 2, "a worker that goes on without a program of its own");
    }

    #[test]
    fn columns_are_counted_from_the_last_parenthesis() {
        let stat = Stat::parse(7, "7 (a ) b (c)) S 1 7 7 0 -1 0 1 5 3 9 40 20 1 2 39 -19 2 0 123 456 789\n")
            .unwrap();
        assert_eq!((stat.process, stat.parent), (Identity { pid: 7, started: 123 }, 1));
        for garbled in ["", "7 (a", "7 (a) S 1 2", "7 (a) S x 7 7 0 -1 0 1 5 3 9 40 20 1 2 39 -19 2 0 1 4 7"]
        {
            assert!(Stat::parse(7, garbled).is_none(), "{garbled}");
        }
    }

    #[test]
    fn descendants_are_found_by_lists_of_children_and_without_them() {
        for has_lists in [false, true] {
            let procfs = family();
            if has_lists {
                with_children_files(&procfs);
            }
            let mut tree = procfs.tree(10);
            assert_eq!(tree.has_children_files, has_lists);
            let seen = tree.look();
            let peak = seen[0].peak_bytes.unwrap();
            assert_eq!(peak, 10 * page_bytes());
            assert_eq!(pages(&mut tree), [(10, 7), (11, 20), (12, 300), (13, 4000)]);
            assert_eq!(pages(&mut procfs.tree(12)), [(12, 300), (13, 4000)]);
        }
    }

    #[test]
    fn a_process_that_has_vanished_is_left_out_and_what_it_started_is_kept() {
        for has_lists in [false, true] {
            let procfs = family();
            if has_lists {
                with_children_files(&procfs);
            }
            let mut tree = procfs.tree(10);
            assert_eq!(tree.look().len(), 4);
            procfs.end(12);
            procfs.process(13, 1, 103, 4001);
            assert_eq!(pages(&mut tree), [(10, 7), (11, 20), (13, 4001)]);
            procfs.end(10);
            assert_eq!(pages(&mut tree), [(11, 20), (13, 4001)]);
        }
    }

    #[test]
    fn descendants_of_before_are_spared_with_all_that_they_start_and_others_are_found() {
        let procfs = family();
        let mut tree = procfs.tree(10);
        tree.spare_descendants();
        assert_eq!(tree.descendants(), []);
        // A child of one that is spared, and one of the root.
        procfs.process(14, 12, 104, 1);
        procfs.process(15, 10, 105, 1);
        let new = Identity { pid: 15, started: 105 };
        assert_eq!(tree.descendants(), [new]);
        assert!(tree.is_alive(new) && !tree.has_ended(new));
        procfs.write("15/stat", &procfs.stat(15).replace(") S ", ") Z "));
        assert!(tree.is_alive(new) && tree.has_ended(new), "nobody has waited for it");
        procfs.end(15);
        assert!(!tree.is_alive(new) && tree.has_ended(new));
    }

    #[test]
    fn a_number_that_has_gone_to_another_process_is_not_counted() {
        let procfs = family();
        with_children_files(&procfs);
        let mut tree = procfs.tree(10);
        assert_eq!(tree.look().len(), 4);
        // Still on the list of 10, but a child of another by now.
        procfs.process(11, 20, 999, 50_000);
        assert_eq!(pages(&mut tree), [(10, 7), (12, 300), (13, 4000)]);
        procfs.process(10, 1, 998, 60_000);
        assert_eq!(pages(&mut tree), [(12, 300), (13, 4000)]);
    }

    #[test]
    fn a_process_without_memory_or_without_sense_counts_nothing() {
        let procfs = family();
        procfs.write("11/statm", "0 0 0 0 0 0 0\n");
        procfs.write("12/statm", "many\n");
        procfs.write("13/status", "Name:\ta\nState:\tZ (zombie)\n");
        let seen = procfs.tree(10).look();
        let seen: Vec<_> = seen.iter().map(|own| (own.process.pid, own.peak_bytes.is_some())).collect();
        assert_eq!(seen, [(10, true), (13, false)]);
        assert!(procfs.tree(99).look().is_empty());
        assert!(Tree::new("/nowhere/at/all", 1).look().is_empty());
    }

    #[test]
    fn this_process_has_memory_and_a_peak() {
        let own = std::process::id();
        let seen = Tree::new("/proc", own).look();
        let own = seen.iter().find(|resident| resident.process.pid == own).unwrap();
        assert!(own.resident_bytes > 100_000 && own.peak_bytes.unwrap() > 100_000, "{own:?}");
        assert_eq!(peak_memory(Path::new("/nowhere"), 1), None);
    }
}

//! Where the pseudo file systems are mounted, and how their files are read.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::OFlags;

use crate::Unavailable;

/// No file that is read here comes near this size; a larger one is not what it claims to be.
/// The longest honest one is `cpuinfo`, at some 1.5 kB a thread.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The places where the kernel's pseudo file systems are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Where procfs is mounted; `/proc` on a real machine.
    pub proc: PathBuf,
    /// Where sysfs is mounted; `/sys` on a real machine.
    pub sys: PathBuf,
}

impl Default for Roots {
    /// Returns the roots of the machine this process runs on.
    fn default() -> Self {
        Self::new("/proc", "/sys")
    }
}

impl Roots {
    /// Wraps the two mount points.
    pub fn new(proc: impl Into<PathBuf>, sys: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), sys: sys.into() }
    }

    /// Tells whether these are the roots of the machine this process runs on, so that a system call and a file
    /// below the roots speak of the same machine.
    pub fn are_this_machine(&self) -> bool {
        *self == Self::default()
    }

    /// Returns where a path of the machine's own name space lies below these roots, where it does.
    pub(crate) fn locate(&self, path: &Path) -> Option<PathBuf> {
        let below = |mount: &str, root: &Path| path.strip_prefix(mount).ok().map(|rest| root.join(rest));
        below("/sys", &self.sys)
            .or_else(|| below("/proc", &self.proc))
            .or_else(|| self.are_this_machine().then(|| path.to_owned()))
    }

    /// Returns the trimmed text of a file below the procfs root.
    pub(crate) fn proc_text(&self, relative: impl AsRef<Path>) -> Result<String, Unavailable> {
        read_text(&self.proc.join(relative))
    }

    /// Returns the trimmed text of a file below the sysfs root.
    pub(crate) fn sys_text(&self, relative: impl AsRef<Path>) -> Result<String, Unavailable> {
        read_text(&self.sys.join(relative))
    }

    /// Returns the one number in a file below the procfs root.
    pub(crate) fn proc_number<T: FromStr>(&self, relative: impl AsRef<Path>) -> Result<T, Unavailable> {
        read_number(&self.proc.join(relative))
    }

    /// Returns the one number in a file below the sysfs root.
    pub(crate) fn sys_number<T: FromStr>(&self, relative: impl AsRef<Path>) -> Result<T, Unavailable> {
        read_number(&self.sys.join(relative))
    }
}

/// Returns the trimmed text of a file. An empty file is no answer; bytes that are not UTF-8 are replaced.
pub(crate) fn read_text(path: &Path) -> Result<String, Unavailable> {
    let bytes = read_bytes(path).map_err(|error| Unavailable::reading(path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if text.is_empty() {
        return Err(Unavailable::new(format!("`{}` is empty", path.display())));
    }
    Ok(text.to_owned())
}

/// Returns the one number in a file.
pub(crate) fn read_number<T: FromStr>(path: &Path) -> Result<T, Unavailable> {
    let text = read_text(path)?;
    text.parse()
        .map_err(|_| Unavailable::content(path, &format!("a number in range, but `{}`", excerpt(&text))))
}

/// Returns the entries of a directory whose names start with `prefix`, numbers in them in numeric order
/// (`cpu2` before `cpu10`).
pub(crate) fn entries(directory: &Path, prefix: &str) -> Result<Vec<PathBuf>, Unavailable> {
    let unreadable = |error: io::Error| Unavailable::reading(directory, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    found.sort_by_key(|path| natural_key(path));
    Ok(found)
}

/// Returns the final component of a path as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the start of a text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 40;
    let mut start: String = text.chars().take(LENGTH).flat_map(char::escape_default).collect();
    if text.chars().nth(LENGTH).is_some() {
        start.push('…');
    }
    start
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Nearly every file fits, and is read in one piece: the kernel tells no sizes.
    let mut bytes = Vec::with_capacity(4096);
    // What is no file but a pipe without a writer must not keep lab waiting.
    let mut options = fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    opened.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Splits a name into texts, each with the number that follows it: `intel-rapl:0:1` sorts before `intel-rapl:1`.
fn natural_key(path: &Path) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let name = file_name(path);
    let mut rest = name.as_str();
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - text);
        parts.push((rest[..text].to_owned(), rest[text..text + digits].parse().unwrap_or(u64::MAX)));
        rest = &rest[text + digits..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_machine_is_found_below_the_roots() {
        let roots = Roots::new("/fixture/proc", "/fixture/sys");
        assert!(!roots.are_this_machine());
        let cases = [
            ("/sys/fs/cgroup", Some("/fixture/sys/fs/cgroup")),
            ("/proc/self", Some("/fixture/proc/self")),
            ("/system", None),
            ("/dev/cgroup", None),
        ];
        for (path, expected) in cases {
            assert_eq!(roots.locate(Path::new(path)), expected.map(PathBuf::from), "{path}");
        }
        assert_eq!(Roots::default().locate(Path::new("/dev/cgroup")), Some("/dev/cgroup".into()));
    }

    #[test]
    fn numbers_in_names_sort_as_numbers() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["cpu10", "cpu2", "cpufreq", "cpu1", "cpu1:3", "other"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let names: Vec<_> = entries(directory.path(), "cpu").unwrap().iter().map(|p| file_name(p)).collect();
        assert_eq!(names, ["cpu1", "cpu1:3", "cpu2", "cpu10", "cpufreq"]);
        let missing = entries(&directory.path().join("none"), "").unwrap_err();
        assert!(missing.reason.ends_with("none` does not exist"), "{missing}");
    }

    #[test]
    fn a_file_that_holds_no_number_is_named_with_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("size");
        for (content, ending) in [
            (&b" 42\n"[..], None),
            (b"-1\n", Some("does not hold a number in range, but `-1`")),
            (b"\xff\xfe", Some("does not hold a number in range, but `\\u{fffd}\\u{fffd}`")),
            (b" \n", Some("is empty")),
        ] {
            fs::write(&path, content).unwrap();
            match (read_number::<u32>(&path), ending) {
                (Ok(number), None) => assert_eq!(number, 42),
                (Err(error), Some(ending)) => assert!(error.reason.ends_with(ending), "{error}"),
                (answer, _) => panic!("{content:?} gave {answer:?}"),
            }
        }
        assert_eq!(excerpt(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}

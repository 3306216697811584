//! Where the memory of an engine process begins: as its layout says, or as the kernel likes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lab_core::engine::{Engine as _, LoadRequest};
use lab_core::experiment::Layout;
use lab_engine::process::{Process, Start};
use lab_host::clock::Monotonic;
use lab_host::{Roots, process};

/// `ADDR_NO_RANDOMIZE` of personality(2).
const NOT_SHUFFLED: u32 = 0x0004_0000;

/// What no engine has in its heap but in the request that names it.
const MODEL: &str = "/a/model/by/whose/name/a/block/of/the/heap/is/found.gguf";

/// Pages of 4096 bytes: as many as make whole pages on any processor.
const LAYOUT: Layout = Layout { padding_bytes: 1040, mapping_pages: 160, heap_bytes: 4096 };

/// Where the memory of an engine process begins.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    personality: u32,
    stack: u64,
    executable: u64,
    heap: u64,
    /// The library mapped first, which is the highest.
    library: u64,
    /// Each place in the heap at which the model's name stands.
    blocks: Vec<u64>,
}

impl Memory {
    /// Looks at a scripted engine that has answered two requests.
    fn of_launch(layout: Option<Layout>) -> Self {
        Self::of(start(layout, "{}", &[]))
    }

    fn of(start: Start) -> Self {
        let mut engine = Process::start(start, &Monotonic).unwrap();
        engine.hello().unwrap();
        engine.load(&LoadRequest { model: MODEL.to_owned(), positions: 1, profile: false }).unwrap();
        Self::of_process(engine.pid())
    }

    fn of_process(pid: u32) -> Self {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mappings: Vec<Mapping<'_>> = maps.lines().map(Mapping::parse).collect();
        let first = |name: &str| mappings.iter().find(|mapping| mapping.name == name).unwrap();
        let files = mappings.iter().map(|mapping| mapping.name).filter(|name| name.starts_with('/'));
        let files: Vec<&str> = files.collect();
        let heap = first("[heap]");
        Self {
            personality: personality(&pid.to_string()),
            stack: stack(pid),
            executable: first(files[0]).from,
            heap: heap.from,
            library: first(files[files.len() - 1]).from,
            blocks: occurrences(pid, heap),
        }
    }
}

/// A line of `/proc/<pid>/maps`, in which addresses rise.
struct Mapping<'a> {
    from: u64,
    to: u64,
    name: &'a str,
}

impl<'a> Mapping<'a> {
    /// `from-to permissions offset device inode name` (proc_pid_maps(5)); the name may be missing.
    fn parse(line: &'a str) -> Self {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let address = |digits| u64::from_str_radix(digits, 16).unwrap();
        Self { from: address(from), to: address(to), name: rest.split_whitespace().nth(4).unwrap_or("") }
    }
}

fn personality(process: &str) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{process}/personality")).unwrap();
    u32::from_str_radix(text.trim(), 16).unwrap()
}

/// Column 28 of `/proc/<pid>/stat`, `startstack`; the third is the first behind the name (proc_pid_stat(5)).
fn stack(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let columns = stat.rsplit_once(')').unwrap().1;
    columns.split_whitespace().nth(28 - 3).unwrap().parse().unwrap()
}

fn occurrences(pid: u32, heap: &Mapping<'_>) -> Vec<u64> {
    let mut bytes = vec![0; usize::try_from(heap.to - heap.from).unwrap()];
    File::open(format!("/proc/{pid}/mem")).unwrap().read_exact_at(&mut bytes, heap.from).unwrap();
    let found = bytes.windows(MODEL.len()).zip(heap.from..).filter(|(window, _)| *window == MODEL.as_bytes());
    found.map(|(_, address)| address).collect()
}

fn own_core() -> u32 {
    let own_cores = process::affinity(&Roots::default(), std::process::id()).unwrap();
    own_cores.iter().next().unwrap()
}

fn start(layout: Option<Layout>, script: &str, environment: &[(&str, &str)]) -> Start {
    let lab = PathBuf::from(env!("CARGO_BIN_EXE_lab"));
    let arguments = ["engine", "scripted", "--script", script, "--launch", "0"];
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Start {
        launcher: lab.clone(),
        program: lab,
        arguments: arguments.map(str::to_owned).to_vec(),
        environment: BTreeMap::from_iter(environment),
        cores: vec![own_core()],
        layout,
        load_timeout: Duration::from_secs(30),
        generate_timeout: Duration::from_secs(30),
        interrupted: Arc::default(),
    }
}

#[test]
fn launches_with_one_layout_lie_alike() {
    let first = Memory::of_launch(Some(LAYOUT));
    assert_eq!(first.personality & NOT_SHUFFLED, NOT_SHUFFLED);
    assert!(!first.blocks.is_empty());
    for _launch in 0..3 {
        assert_eq!(Memory::of_launch(Some(LAYOUT)), first);
    }
}

#[test]
fn another_padding_moves_the_stack_by_so_many_bytes_and_nothing_else() {
    let first = Memory::of_launch(Some(LAYOUT));
    let moved = Memory::of_launch(Some(Layout { padding_bytes: LAYOUT.padding_bytes + 1616, ..LAYOUT }));
    assert_eq!(first.stack - moved.stack, 1616);
    assert_eq!(moved, Memory { stack: moved.stack, ..first });
}

#[test]
fn other_pages_move_the_mappings_by_so_many_pages_and_nothing_else() {
    let first = Memory::of_launch(Some(LAYOUT));
    let moved = Memory::of_launch(Some(Layout { mapping_pages: LAYOUT.mapping_pages + 3200, ..LAYOUT }));
    assert_eq!(first.library - moved.library, 3200 * 4096);
    assert_eq!(moved, Memory { library: moved.library, ..first });
}

#[test]
fn other_bytes_of_the_heap_move_its_blocks_by_as_many_and_nothing_else() {
    let first = Memory::of_launch(Some(LAYOUT));
    let moved = Memory::of_launch(Some(Layout { heap_bytes: LAYOUT.heap_bytes + 20_000, ..LAYOUT }));
    let expected: Vec<u64> = first.blocks.iter().map(|block| block + 20_000).collect();
    assert_eq!(moved.blocks, expected);
    assert_eq!(moved, Memory { blocks: moved.blocks.clone(), ..first });
}

#[test]
fn arguments_and_environment_of_any_length_leave_the_stack_at_its_place_in_a_page() {
    let in_page = |start| Memory::of(start).stack % 4096;
    let expected = in_page(start(Some(LAYOUT), "{}", &[]));
    for (script, environment) in [
        (r#"{"version":"2"}"#, &[][..]),
        (r#"{"version":"a version of many words"}"#, &[("THREADS", "2")]),
        ("{}", &[("THREADS", "2"), ("LD_LIBRARY_PATH", "/opt/engine/lib")]),
        ("{}", &[("A", ""), ("B", "b"), ("C", "see")]),
    ] {
        assert_eq!(in_page(start(Some(LAYOUT), script, environment)), expected, "{script} {environment:?}");
    }
}

#[test]
fn without_a_layout_the_kernel_decides_as_it_does_for_lab() {
    assert_eq!(Memory::of_launch(None).personality, personality("self"));
}

#[test]
fn a_hard_limit_below_what_a_layout_needs_is_named() {
    let layout = serde_json::to_string(&LAYOUT).unwrap();
    let harness = std::process::id().to_string();
    let core = own_core().to_string();
    let lab = env!("CARGO_BIN_EXE_lab");
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -S -s 8192 && ulimit -H -s 102400 && exec \"$0\" \"$@\"", lab, "launch-engine"])
        .args(["--harness", &harness, "--cores", &core, "--layout", &layout, "--", "/bin/true"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let words = "a memory layout needs a stack limit of 168427520 bytes, and the hard limit of this process is 104857600";
    assert!(said.contains("cannot start `/bin/true`") && said.contains(words), "{said}");
}

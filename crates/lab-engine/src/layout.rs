//! Makes the memory of an engine begin where a layout says. Runs in the engine's own process, just before it becomes
//! the engine: what is set here takes effect when the kernel lays out the new program.
//!
//! ```text
//!   high   arguments, environment       moved within a page by `padding_bytes`
//!          stack                        grows down from there
//!          a gap                        as large as the stack may become: moved by whole `mapping_pages`
//!          mappings                     libraries, weights, stacks of threads; grow down from there
//!          …
//!          heap                         grows up; an engine that heeds it leaves the first `heap_bytes` unused
//!   low    executable                   always at the same place
//! ```
//!
//! The kernel's own shuffling is off. Which physical pages lie behind these addresses is nothing that a process can
//! decide.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;

use lab_core::experiment::Layout;
use nix::sys::personality::{self, Persona};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Names the text that moves the stack, in the engine's environment.
pub const PADDING: &str = "LAB_LAYOUT_PADDING";
/// Names the text that makes up for arguments and environments of different lengths, in the engine's environment.
pub const LEVEL: &str = "LAB_LAYOUT_LEVEL";
/// Names the bytes to leave unused at the start of the heap, in the engine's environment.
pub const HEAP: &str = "LAB_LAYOUT_HEAP";

/// The variables of an engine's environment, in the order they are passed.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// The limit of the stack with which mappings begin where a layout of no pages has them. The kernel leaves a gap of 128
/// MiB or more for the stack (Linux `mmap_base` in arch/x86/mm/mmap.c and mm/util.c): only above that does the limit
/// move anything.
const LEAST_STACK_BYTES: u64 = 160 << 20;
/// The unit of [`Layout::mapping_pages`].
const PAGE_BYTES: u64 = 4096;
/// The stack is placed within pages of this size. What lies whole pages apart lies alike in a first-level cache.
const STACK_PAGE_BYTES: usize = 4096;

/// Turns the kernel's shuffling off and moves the mappings, for the program that this process becomes.
///
/// # Errors
///
/// When the kernel, or a container around this process, does not permit it.
pub(crate) fn fix(layout: &Layout) -> io::Result<()> {
    stop_shuffling()?;
    let limit = stack_limit(layout, getrlimit(Resource::Stack))?;
    Ok(setrlimit(Resource::Stack, limit)?)
}

fn stop_shuffling() -> io::Result<()> {
    let set = personality::get().and_then(|own| personality::set(own | Persona::ADDR_NO_RANDOMIZE));
    let refused = |error| {
        io::Error::other(format!(
            "the kernel does not let this process turn off address randomisation ({error}); container runtimes often \
             forbid the system call `personality`"
        ))
    };
    set.map(|_before| ()).map_err(refused)
}

/// Returns the limit of the stack that moves the mappings as the layout says.
fn stack_limit(layout: &Layout, limit: Rlimit) -> io::Result<Rlimit> {
    let wanted = LEAST_STACK_BYTES + u64::from(layout.mapping_pages) * PAGE_BYTES;
    match limit.maximum {
        Some(most) if most < wanted => Err(io::Error::other(format!(
            "a memory layout needs a stack limit of {wanted} bytes, and the hard limit of this process is {most} bytes \
             (`ulimit -H -s` shows it in kB)"
        ))),
        _ => Ok(Rlimit { current: Some(wanted), ..limit }),
    }
}

/// Adds the variables that move the stack, and the one that tells the engine how to move its heap.
///
/// Two layouts differ in the environment's size by exactly the difference of their padding. Programs with other
/// arguments, or with more variables, begin their stacks at the same place in a page: the level makes up for them.
pub(crate) fn furnish(
    layout: &Layout,
    program: &OsStr,
    arguments: &[String],
    mut environment: Environment,
) -> Environment {
    let text = |length| OsString::from("-".repeat(length));
    // Five digits whatever the number: it must not move the stack.
    environment.insert(HEAP.into(), format!("{:05}", layout.heap_bytes).into());
    environment.insert(PADDING.into(), OsString::new());
    environment.insert(LEVEL.into(), OsString::new());
    let rest = bytes_on_stack(program, arguments, &environment) % STACK_PAGE_BYTES;
    environment.insert(LEVEL.into(), text((STACK_PAGE_BYTES - rest) % STACK_PAGE_BYTES));
    environment.insert(PADDING.into(), text(layout.padding_bytes as usize));
    environment
}

/// Returns how many bytes the kernel puts on a new stack for these words: the texts, each with a zero at its end, and a
/// table of pointers to them (Linux `create_elf_tables` in fs/binfmt_elf.c).
fn bytes_on_stack(program: &OsStr, arguments: &[String], environment: &Environment) -> usize {
    // The program's name is the first argument, and stands there once more as what was executed.
    let names = [program.len(), program.len()];
    let words = arguments.iter().map(String::len).chain(names);
    let variables = environment.iter().map(|(name, value)| name.len() + "=".len() + value.len());
    let texts: usize = words.chain(variables).map(|length| length + 1).sum();
    // The count of arguments; they and the program; a null; the variables; a null. The table begins at a multiple of 16
    // bytes, below texts of the kernel's own (the platform's name, 16 random bytes) that begin 8 or 9 bytes above one,
    // on ARM64 and on x86-64: there an odd pointer falls into what is rounded away.
    let n_pointers = 1 + (1 + arguments.len() + 1) + (environment.len() + 1);
    texts + (n_pointers & !1) * size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(padding_bytes: u32, mapping_pages: u32, heap_bytes: u32) -> Layout {
        Layout { padding_bytes, mapping_pages, heap_bytes }
    }

    fn furnished(layout: &Layout, arguments: &[&str], variables: &[(&str, &str)]) -> Environment {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        furnish(layout, OsStr::new("/bin/engine"), &arguments, variables)
    }

    fn length(environment: &Environment, name: &str) -> usize {
        environment[OsStr::new(name)].len()
    }

    fn whole(environment: &Environment) -> usize {
        environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
    }

    #[test]
    fn environments_of_two_layouts_differ_in_size_by_their_padding_alone() {
        let least = furnished(&layout(0, 0, 0), &["serve"], &[("THREADS", "2")]);
        for (padding, pages, heap) in [(16, 0, 0), (4080, 4095, 65_520), (0, 7, 16)] {
            let moved = furnished(&layout(padding, pages, heap), &["serve"], &[("THREADS", "2")]);
            assert_eq!(length(&moved, PADDING), padding as usize);
            assert_eq!(whole(&moved), whole(&least) + padding as usize);
            assert_eq!(moved.len(), least.len());
            let told = moved[OsStr::new(HEAP)].to_str().unwrap();
            assert_eq!(told.parse(), Ok(heap));
        }
    }

    #[test]
    fn arguments_and_variables_of_any_length_leave_the_stack_at_its_place_in_a_page() {
        let layout = layout(32, 1, 16);
        for (arguments, variables) in [
            (&["serve"][..], &[][..]),
            (&["serve", "--threads", "12"], &[("A", "b")]),
            (&[], &[("LD_LIBRARY_PATH", "/opt/engine/lib"), ("THREADS", "16")]),
        ] {
            let environment = furnished(&layout, arguments, variables);
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
            let total = bytes_on_stack(OsStr::new("/bin/engine"), &arguments, &environment);
            assert_eq!(total % STACK_PAGE_BYTES, 32, "{arguments:?}");
        }
    }

    #[test]
    fn the_limit_of_the_stack_moves_by_pages_and_never_above_the_hard_one() {
        let limit = |maximum| Rlimit { current: Some(8 << 20), maximum };
        let least = 160 << 20;
        for (pages, maximum, expected) in [
            (0, None, Ok(least)),
            (3, None, Ok(least + 3 * 4096)),
            (3, Some(least + 3 * 4096), Ok(least + 3 * 4096)),
            (3, Some(least), Err("needs a stack limit of 167784448 bytes, and the hard limit")),
        ] {
            let found = stack_limit(&layout(0, pages, 0), limit(maximum));
            match (found, expected) {
                (Ok(found), Ok(current)) => {
                    assert_eq!((found.current, found.maximum), (Some(current), maximum));
                }
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }
}

//! The peak of a process's memory, on this very process. Alone in its binary: the peak belongs to the whole
//! process, and a neighbouring test that allocates or resets would spoil it.

use std::hint::black_box;

use lab_host::Roots;
use lab_host::process::{peak_memory, reset_peak_memory, resident_memory};

const BLOCK_BYTES: u64 = 64 << 20;
/// Far above what the kernel's lazy counting may hide, far below the block.
const SLACK_BYTES: u64 = 16 << 20;

#[test]
fn a_reset_peak_forgets_memory_that_was_given_back_and_sees_memory_that_comes_after() {
    let roots = Roots::default();
    let pid = std::process::id();
    let before = resident_memory(&roots, pid).unwrap();

    drop(touched_block());
    let peak = peak_memory(&roots, pid).unwrap();
    assert!(peak + SLACK_BYTES >= before + BLOCK_BYTES, "the block must show in the peak: {before} {peak}");

    reset_peak_memory(&roots, pid).unwrap();
    let fallen = peak_memory(&roots, pid).unwrap();
    assert!(fallen + BLOCK_BYTES <= peak + SLACK_BYTES, "the peak must fall by the block: {peak} {fallen}");

    drop(touched_block());
    let risen = peak_memory(&roots, pid).unwrap();
    assert!(risen + SLACK_BYTES >= fallen + BLOCK_BYTES, "a later block must show again: {fallen} {risen}");
}

/// Returns memory of which every page was written; a zeroed vector alone would not be resident.
fn touched_block() -> Vec<u8> {
    let mut block = vec![0_u8; usize::try_from(BLOCK_BYTES).expect("64 MiB fit any address space")];
    for page in block.chunks_mut(4096) {
        page[0] = 1;
    }
    black_box(block)
}

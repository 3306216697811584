//! Prints what this machine's memory delivers to 1, 2, … threads on all cores.
//!
//! `cargo run --release -p lab-host --example bandwidth`

#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use lab_host::bandwidth::{Measured, Setup, measure};
use lab_host::clock::Monotonic;
use lab_host::{Roots, Unavailable, cpu, memory};

fn main() -> Result<(), Unavailable> {
    let roots = Roots::default();
    let largest_cache_bytes = cpu::probe(&roots).last_level_cache_bytes()?;
    let available_bytes = memory::probe(&roots).available_bytes.into_result()?;
    let cores: Vec<u32> = cpu::online(&roots)?.iter().collect();
    for threads in 1..=u32::try_from(cores.len()).expect("cores are counted in 32 bits") {
        let setup = Setup { cores: &cores, threads, largest_cache_bytes, available_bytes };
        let Measured { bytes_per_second, others_share } = measure(&setup, &roots, &Monotonic)?;
        let others = others_share.map_or("unknown".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        println!(
            "{threads} threads: {}.{:03} GB/s (of the cores' time others took: {others})",
            bytes_per_second / 1_000_000_000,
            bytes_per_second / 1_000_000 % 1000
        );
    }
    Ok(())
}

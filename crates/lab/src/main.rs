//! The program `lab`: the command, and the built-in engine where it was built with one.
//!
//! It is all that names the engine, so that what it computes with is linked in front of the command and nothing that changes in the
//! command moves it (decision 24; `ci/placement.py` looks whether it is so).

use std::process::ExitCode;

fn main() -> ExitCode {
    lab_cli::main(built_in())
}

#[cfg(feature = "candle")]
fn built_in() -> Option<lab_cli::BuiltIn> {
    Some(|clock, resolution_ns| Box::new(lab_candle::Candle::new(clock, resolution_ns)))
}

#[cfg(not(feature = "candle"))]
fn built_in() -> Option<lab_cli::BuiltIn> {
    None
}

//! Questions only the machine answers: the clock, what the hardware is, how much memory there is, what disturbed
//! a run, and what can be measured here at all.
//!
//! Linux only. Every probe of a pseudo file system takes [`Roots`], so that a directory of fixtures can stand in
//! for hardware that the developer does not own. A probe that finds nothing says so with [`Unavailable`] and the
//! reason; no probe answers 0 or an estimate in place of a fact it could not get, and none panics on a file whose
//! content it does not understand.
//!
//! This crate does not decide anything: whether a steal of 3 % spoils a run is the runner's business.

pub mod bandwidth;
pub mod clock;
pub mod conditions;
pub mod cpu;
pub mod disk;
pub mod doctor;
pub mod energy;
pub mod instruments;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod network;
pub mod process;
mod reading;
mod roots;
mod sampler;
mod text;

pub use reading::{Reading, Unavailable};
pub use roots::Roots;

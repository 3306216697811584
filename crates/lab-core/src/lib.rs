//! Vocabulary and pure rules of lab.
//!
//! Architecture invariant I1: nothing here does I/O or reads a clock, so nothing here can fail for a reason
//! outside its arguments.

pub mod digest;
pub mod model;

//! Vocabulary and pure rules of lab.
//!
//! Architecture invariant I1: nothing here does I/O or reads a clock, so nothing here can fail for a reason
//! outside its arguments.

pub mod calibration;
pub mod check;
pub mod clock;
pub mod command;
pub mod device;
pub mod digest;
pub mod energy;
pub mod engine;
pub mod excerpt;
pub mod experiment;
pub mod fingerprint;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod gate;
pub mod import;
pub mod limit;
pub mod metric;
pub mod model;
mod naming;
pub mod nearest;
mod number;
pub mod object;
pub mod observation;
pub mod plan;
pub mod record;
pub mod report;
pub mod summary;
pub mod timeline;
pub mod tolerance;
pub mod validity;
pub mod work;
pub mod workflow;
pub mod workload;

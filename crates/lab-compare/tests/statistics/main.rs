//! The statistics of this crate from outside: against SciPy, and on simulated data.

mod rates;
mod recorded;
mod scipy;
mod simulation;

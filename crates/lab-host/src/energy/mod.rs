//! The energy meters of this machine: what a plan asks for, resolved to counters of microjoules.
//!
//! One module a source. All of them deliver a `Gauge`, a closure that reads one number, and leave it to `meter` to
//! stamp readings and to make one counter that only rises out of counters that wrap and of powers that must be summed
//! up over time. A source that cannot be had says why, and what would change that.
//!
//! Nothing here estimates: whether the figures of an external meter are a model's is the plan's word.

mod account;
mod amdgpu;
mod battery;
mod external;
mod hwmon;
mod meter;
mod nvml;
mod perf;
mod rapl;
mod selection;

pub(crate) use selection::open_one;
pub use selection::{Wanted, open};

//! The engine protocol, both ends.
//!
//! ```text
//!   harness                                        engine process
//!   Process ── requests, one JSON line each ──► stdin       serve ──► an Engine
//!           ◄── answers, one JSON line each ─── $LAB_PROTOCOL_FD
//!           ◄── log ───────────────────────── stdout and stderr
//! ```
//!
//! The harness starts an engine through [`launcher`], which sets the conditions inside the new process and then
//! becomes the engine. Nothing here is asynchronous (invariant I11): one blocking reader a launch.

pub mod delayed;
mod framing;
pub mod launcher;
pub mod layout;
pub mod process;
pub mod scripted;
pub mod serve;
mod singly;
#[cfg(test)]
mod virtual_clock;
pub mod wander;

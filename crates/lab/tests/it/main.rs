//! Drives the `lab` executable as its users do: arguments in; standard output, standard error and exit status out.
//!
//! The engine is the scripted one, so that latencies are microseconds and every failure is one that was asked for. Each
//! test has a store of its own; all share one folder of models (`LAB_TEST_CACHE`, or `target/test-cache`).

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml permits it in test functions; here every function is part of a test"
)]

mod ab;
mod ab_commands;
mod archiving;
mod bad_models;
mod bad_plans;
mod bad_stores;
mod baselines;
mod boundaries;
mod calibrating;
mod command_plans;
mod comparing;
mod devices;
mod energy;
mod extremes;
mod faults;
mod forced;
mod gating;
mod generated;
mod harness;
mod history;
mod kills;
mod layouts;
mod measure;
#[path = "../../../lab-mqtt/tests/mosquitto/mod.rs"]
mod mosquitto;
mod plan;
mod reading;
mod running;
mod schema;
mod talking;
mod until;
mod watching;
mod watching_devices;
mod workflow;
mod world;

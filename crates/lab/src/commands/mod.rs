//! One file a command. Each has its arguments and one function that carries it out.

pub(crate) mod ab;
pub(crate) mod baseline;
pub(crate) mod calibrate;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod export;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod launch_engine;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod metrics;
pub(crate) mod overhead;
pub(crate) mod plan;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod schemas;
pub(crate) mod show;
pub(crate) mod verify;

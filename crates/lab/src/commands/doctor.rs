//! `lab doctor`: what this host can and cannot measure.

use clap::Args;
use lab_formats::doctor::{CapabilityRow, DOCTOR_SCHEMA, DoctorDocument, HostFact};
use lab_formats::{doctor, page, table};
use lab_host::cpu::{self, Cpu};
use lab_host::doctor::{Capability, Status};
use lab_host::{Reading, Roots, machine, memory};

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::instruments::nvml_library;
use crate::terminal::{Format, print};

/// What `lab doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lab doctor\n  lab doctor --format json")]
pub(crate) struct Arguments {
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let roots = global.roots()?;
    let capabilities = lab_host::doctor::examine(&roots, nvml_library().as_deref());
    let document = DoctorDocument {
        schema: DOCTOR_SCHEMA,
        host: host(&roots),
        capabilities: capabilities.into_iter().map(row).collect(),
    };
    match arguments.format {
        Format::Json => print(&doctor::to_text(&document))?,
        Format::Table => print(&table::render(&page::doctor(&document), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

fn host(roots: &Roots) -> Vec<HostFact> {
    let Cpu { model_name, cores_online, threads_online, .. } = cpu::probe(roots);
    let sets = cpu::probe(roots).instruction_sets().map(|sets| sets.join(" "));
    let machine = machine::probe(roots);
    let memory = memory::probe(roots);
    let megabytes = |bytes: &u64| format!("{} MB", bytes / 1_000_000);
    vec![
        fact("processor", words(&model_name, Clone::clone)),
        fact("cores", words(&cores_online, ToString::to_string)),
        fact("threads", words(&threads_online, ToString::to_string)),
        fact("instruction sets", sets.unwrap_or_else(|unavailable| unavailable.to_string())),
        fact("memory", words(&memory.total_bytes, megabytes)),
        fact("memory free now", words(&memory.available_bytes, megabytes)),
        fact("virtualisation", words(&machine.virtualisation, Clone::clone)),
        fact("kernel", words(&machine.kernel_release, Clone::clone)),
    ]
}

fn fact(name: &str, value: String) -> HostFact {
    HostFact { name: name.to_owned(), value }
}

fn words<T>(reading: &Reading<T>, to_words: impl FnOnce(&T) -> String) -> String {
    match reading.as_result() {
        Ok(value) => to_words(value),
        Err(unavailable) => format!("unavailable: {unavailable}"),
    }
}

fn row(capability: Capability) -> CapabilityRow {
    let Capability { name, what_for, metrics, status } = capability;
    let (available, detail, remedy) = match status {
        Status::Available { detail } => (true, detail, None),
        Status::Unavailable { reason, remedy } => (false, reason, remedy),
    };
    CapabilityRow {
        name: name.to_owned(),
        what_for: what_for.to_owned(),
        metrics: metrics.iter().map(ToString::to_string).collect(),
        available,
        detail,
        remedy,
    }
}

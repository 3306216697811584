//! The fingerprint of a session, from what the machine, the model file and the engine say.

use lab_core::digest::Digest;
use lab_core::engine::Hello;
use lab_core::fingerprint::{EnginePart, HardwarePart, Mode, ModelPart, PlanPart};
use lab_core::model::{ModelSource, ModelSpec};
use lab_core::plan::{EngineKind, Plan};
use lab_core::workload::Workload;
use lab_host::cpu::Cpu;
use lab_host::{Reading, Roots, machine, memory};
use lab_model::gguf::{Gguf, GgufError};
use lab_model::source::LocalModel;

/// Stands where this kernel does not offer a fact that is no more than a refinement of others. Facts without which a
/// machine is not identified stay unknown, and unknown refuses (invariant I7).
const NOT_OFFERED: &str = "not offered by this kernel";

pub(crate) fn model_part(spec: &ModelSpec, local: &LocalModel, gguf: &Gguf) -> Result<ModelPart, GgufError> {
    Ok(ModelPart {
        weights_sha256: local.sha256,
        architecture: gguf.architecture()?.to_owned(),
        quantization: gguf.quantization(),
        tokenizer: lab_model::tokenizer::digest(gguf),
        weights: origin_of_weights(&spec.source),
        name: spec.name.clone(),
        bytes: local.bytes,
    })
}

fn origin_of_weights(source: &ModelSource) -> String {
    match source {
        ModelSource::Synthetic(shape) => {
            format!("synthetic, generator {}, seed {}", lab_model::synthetic::GENERATOR_VERSION, shape.seed)
        }
        ModelSource::Path(_) | ModelSource::Url(_) | ModelSource::Wheel { .. } => "from a file".to_owned(),
    }
}

/// `sample_hz` is what the sampling thread of the instruments does, which an experiment may switch off.
pub(crate) fn plan_part(
    plan: &Plan,
    workload: &Workload,
    repeat: u32,
    mode: Mode,
    sample_hz: f64,
) -> PlanPart {
    PlanPart {
        prompt: workload.prompt_digest(),
        prompt_tokens: workload.prompt.len() as u64,
        forced: workload.forced_digest(),
        generate: workload.generate,
        sampling: workload.sampling,
        stop: workload.stop,
        isolation: plan.run.isolation,
        warmup: plan.run.warmup,
        sample_hz,
        mode,
        name: plan.name.clone(),
        repeat,
    }
}

pub(crate) fn hardware_part(roots: &Roots, cpu: &Cpu) -> HardwarePart {
    let machine = machine::probe(roots);
    let text = |reading: &Reading<String>| reading.value().cloned();
    let signature = [&cpu.family, &cpu.model, &cpu.stepping].map(text);
    let refinement = |value: Option<String>| value.unwrap_or_else(|| NOT_OFFERED.to_owned());
    HardwarePart {
        cpu_model: text(&cpu.model_name),
        cpu_vendor: refinement(text(&cpu.vendor)),
        cpu_signature: refinement(
            signature.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.join("/")),
        ),
        sockets: refinement(cpu.sockets.value().map(ToString::to_string)),
        cores: count(&cpu.cores_online),
        threads: count(&cpu.threads_online),
        caches: cpu
            .caches
            .value()
            .map_or_else(|| vec![NOT_OFFERED.to_owned()], |caches| caches.iter().map(cache).collect()),
        memory_gib: memory::memory_gib_rounded(roots).ok(),
        accelerators: machine
            .accelerators
            .value()
            .map(|found| found.iter().map(|one| one.name.clone()).collect()),
        virtualization: refinement(text(&machine.virtualisation)),
        observed_from: observed_from(roots),
        kernel: refinement(text(&machine.kernel_release)),
    }
}

/// Says whether files stand in for the machine: what they tell never compares with what a machine tells.
fn observed_from(roots: &Roots) -> String {
    match roots.are_this_machine() {
        true => "this machine".to_owned(),
        false => format!("{} and {}", roots.proc.display(), roots.sys.display()),
    }
}

fn count(reading: &Reading<usize>) -> Option<u32> {
    reading.value().and_then(|n| u32::try_from(*n).ok())
}

fn cache(cache: &lab_host::cpu::Cache) -> String {
    let lab_host::cpu::Cache { level, kind, size_bytes, shared_by, instances } = cache;
    format!("L{level} {kind}: {instances} x {} KiB, shared by {shared_by}", size_bytes / 1024)
}

/// A foreign program's word about its build is bound to the bytes that gave it and to the arguments they were given.
pub(crate) fn engine_part(kind: &EngineKind, hello: &Hello, executable: Digest) -> EnginePart {
    let (build, arguments) = match kind {
        EngineKind::Candle | EngineKind::Scripted(_) => (hello.build, Vec::new()),
        EngineKind::Command(words) => {
            let arguments = words[1..].to_vec();
            (Digest::of_canonical("lab.foreign-engine.v1", &(hello.build, executable, &arguments)), arguments)
        }
    };
    EnginePart {
        name: hello.name.clone(),
        version: hello.version.clone(),
        build,
        settings: hello.settings.clone(),
        executable,
        protocol: hello.protocol,
        arguments,
    }
}

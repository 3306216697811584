//! Everything that must be there before an engine is measured: the machine's answers, the engine's greeting, the
//! instruments, the model, the workload. In this order, so that nobody waits for a download to learn that something
//! else is not to be had.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use lab_core::clock::Clock as _;
use lab_core::engine::{FORCED, Hello, LoadRequest};
use lab_core::experiment::Layouts;
use lab_core::fingerprint::PartRecord;
use lab_core::plan::{EngineKind, Plan};
use lab_core::workload::{Decode, Workload};
use lab_host::Roots;
use lab_host::clock::Monotonic;
use lab_host::cpu::{self, Cpu};

use crate::backend::{self, Backend};
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::instruments::Instruments;
use crate::launch::{self, Instead, Launcher};
use crate::prepare::{self, Model};
use crate::{identity, plan_file};

/// What this machine offers a plan.
pub(crate) struct Host {
    pub(crate) roots: Roots,
    cpu: Cpu,
    pub(crate) backend: Backend,
    /// What takes the place of the engine that the plan names.
    pub(crate) instead: Instead,
}

impl Host {
    /// Refuses a plan that this machine cannot carry out, as far as that can be told without an engine.
    pub(crate) fn resolve(plan: &Plan, global: &Global) -> Result<Self> {
        let roots = global.roots()?;
        let cpu = cpu::probe(&roots);
        let backend = backend::resolve(&plan.engine, &roots, &cpu)?;
        if let Some(foreseen) = prepare::foresee(plan)? {
            prepare::check_foreseen(plan, &foreseen, &roots)?;
        }
        Ok(Self { roots, cpu, backend, instead: Instead::default() })
    }

    /// Returns this host with something in the place of the engine that a plan names. Only engines that come with lab can be
    /// slowed down.
    pub(crate) fn with(self, instead: Instead, kind: &EngineKind) -> Result<Self> {
        match (kind, instead.delay) {
            (EngineKind::Command(_), Some(delay)) => Err(Failure::usage(anyhow!(
                "`{delay}` slows the engines down that come with lab, and no other"
            ))),
            _ => Ok(Self { instead, ..self }),
        }
    }

    /// Returns this host for one side of a paired experiment, whose launches have layouts of their own.
    pub(crate) fn for_pairs(self, layouts: Layouts) -> Self {
        Self { backend: self.backend.for_pairs(layouts), ..self }
    }
}

/// A plan that is ready to be measured.
pub(crate) struct Bench<'a> {
    pub(crate) launcher: Launcher<'a>,
    pub(crate) hello: Hello,
    pub(crate) instruments: Instruments,
    pub(crate) model: Model,
    pub(crate) workload: Workload,
    pub(crate) hardware: PartRecord,
    /// How long it took to obtain the model, in nanoseconds: a download is no check.
    pub(crate) obtaining_ns: u64,
}

impl<'a> Bench<'a> {
    /// Brings everything together.
    pub(crate) fn ready(
        plan: &'a Plan,
        path: &Path,
        host: &'a Host,
        interrupted: &Arc<AtomicBool>,
        global: &Global,
    ) -> Result<Self> {
        let Host { roots, cpu, backend, instead } = host;
        let launcher = Launcher {
            kind: &plan.engine.kind,
            backend,
            instead,
            limits: &plan.run,
            roots,
            interrupted: interrupted.clone(),
        };
        let hello = launch::greet(&launcher)?;
        check_features(plan, &hello)?;
        let instruments = Instruments::open(plan, &hello.device, backend, roots)?;
        let asked_ns = Monotonic.now_ns();
        let model = prepare::obtain_model(plan, &plan_file::folder(path), global)?;
        launch::check_text(&model.local.path)?;
        let obtaining_ns = Monotonic.now_ns() - asked_ns;
        let workload = prepare::workload(plan, &model.header)?;
        prepare::check(plan, &model.header, &workload, roots)?;
        let hardware = identity::hardware_part(roots, cpu).record();
        Ok(Self { launcher, hello, instruments, model, workload, hardware, obtaining_ns })
    }

    /// Takes what is measured once before the engine is: only now is nothing left that could go wrong first.
    pub(crate) fn calibrate(&mut self, plan: &Plan, global: &Global) -> Result<()> {
        let cache = prepare::cache(global)?;
        self.instruments.calibrate(plan, self.launcher.backend, &self.hardware, cache.root());
        Ok(())
    }

    /// Returns what every launch is asked to load.
    pub(crate) fn load_request(&self) -> LoadRequest {
        LoadRequest {
            model: launch::absolute(&self.model.local.path),
            positions: self.workload.positions(),
            profile: false,
        }
    }
}

/// Refuses an engine that would ignore what the plan asks of it: it would measure something else and not say so.
fn check_features(plan: &Plan, hello: &Hello) -> Result<()> {
    if plan.workload.decode == Decode::Free || hello.has(FORCED) {
        return Ok(());
    }
    let Hello { name, version, .. } = hello;
    Err(Failure::usage(anyhow!(
        "the plan forces what the engine is fed, and the engine `{name} {version}` does not say that it can be forced"
    ))
    .hint("set `decode = \"free\"` in [workload], or an engine with the feature `forced` (docs/engine-protocol.md)"))
}

//! What the instruments saw, as blocks of the document.

use std::collections::BTreeMap;

use lab_core::energy::{MeterKind, source_of};
use lab_core::metric::Reading;
use lab_core::observation::Span;
use lab_core::record::{Completed, ProfiledExecution, Session};
use lab_core::validity::signals;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// How a core was used from just before the request to just after the answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CoreBlock {
    /// The core.
    pub core: u32,
    /// Share of its time in which something ran, in percent.
    pub busy_percent: f64,
    /// Share of its time that the hypervisor gave to somebody else, in percent.
    pub steal_percent: f64,
}

/// What an execution's energy was measured with.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EnergyBlock {
    /// The meters whose energy is summed up.
    pub source: String,
    /// Whether they measure or estimate.
    pub kind: MeterKind,
}

/// Where the time of an execution goes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProfileBlock {
    /// Time inside each kind of operation and not inside another, in ms; `unnamed` is what no operation claims. Null
    /// when the engine took no profile.
    #[schemars(with = "Option<BTreeMap<String, f64>>")]
    pub op_time_ms: Option<Map<String, Value>>,
    /// How often each kind was entered.
    #[schemars(with = "Option<BTreeMap<String, u64>>")]
    pub calls: Option<Map<String, Value>>,
    /// Share of that time that has a name, from 0 to 1.
    pub named_share: Option<f64>,
    /// Time of the profiled execution / mean time of the measured ones: what profiling itself costs.
    pub slowdown: Option<f64>,
    /// Why there is no profile; null when there is one.
    pub unavailable: Option<String>,
}

/// What disturbed a repetition.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ValidityBlock<'a> {
    /// `valid`, `suspect` or `invalid`.
    pub state: &'static str,
    /// One sentence a reason, each beginning with the id of its rule; empty when valid.
    pub reasons: &'a [String],
    /// What every rule saw, by its id and in its unit; null where it was blind.
    #[schemars(with = "BTreeMap<String, Option<f64>>")]
    pub signals: Map<String, Value>,
}

pub(super) fn energy_blocks(completed: &Completed) -> Vec<EnergyBlock> {
    let traces: &[_] = completed.observation.energy.value().map_or(&[], |traces| traces);
    let of_kind = |kind| source_of(traces, kind).map(|source| EnergyBlock { source, kind });
    [MeterKind::Measured, MeterKind::Estimated].into_iter().filter_map(of_kind).collect()
}

pub(super) fn core_blocks(completed: &Completed) -> Option<Vec<CoreBlock>> {
    let Span { before, after } = &completed.observation.machine;
    let passed = before.cores.value()?.iter().zip(after.cores.value()?).map(|(before, after)| {
        let [busy, idle, steal] = [
            after.busy.saturating_sub(before.busy),
            after.idle.saturating_sub(before.idle),
            after.steal.saturating_sub(before.steal),
        ];
        CoreBlock {
            core: after.core,
            busy_percent: percent(busy, busy + idle + steal),
            steal_percent: percent(steal, busy + idle + steal),
        }
    });
    Some(passed.collect())
}

#[expect(clippy::cast_precision_loss, reason = "jiffies of one execution")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

pub(super) fn validity_block(completed: &Completed, n_prompt: usize) -> ValidityBlock<'_> {
    let seen = signals(&completed.inputs(n_prompt)).into_iter().map(|(rule, signal)| {
        let value = signal.value().map(|signal| signal.value);
        (rule.id.to_owned(), Value::from(value))
    });
    let validity = &completed.validity;
    ValidityBlock { state: validity.word(), reasons: validity.reasons(), signals: seen.collect() }
}

pub(super) fn profile_block(session: &Session, profile: &Reading<ProfiledExecution>) -> ProfileBlock {
    let Some(own) = profile.value() else {
        return ProfileBlock {
            op_time_ms: None,
            calls: None,
            named_share: None,
            slowdown: None,
            unavailable: profile.reason().map(str::to_owned),
        };
    };
    let operations = || own.profile.operations.iter();
    let times = operations().map(|one| (one.kind.clone(), Value::from(crate::milliseconds(one.self_ns))));
    let calls = operations().map(|one| (one.kind.clone(), Value::from(one.calls)));
    ProfileBlock {
        op_time_ms: Some(times.collect()),
        calls: Some(calls.collect()),
        named_share: Some(own.profile.named_share()),
        slowdown: session.profile_slowdown(),
        unavailable: None,
    }
}

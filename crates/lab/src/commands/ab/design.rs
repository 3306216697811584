//! What is decided of an experiment before its first launch, and what the sessions of both sides say of it.

use anyhow::anyhow;
use lab_compare::stopping::MOST_PAIRS;
use lab_core::experiment::{Experiment, Layouts, Noise, Side, StoppingPlan};
use lab_core::fingerprint::{Mode, PartKind};
use lab_core::metric::speed;
use lab_core::record::SessionHeader;
use lab_core::tolerance::Tolerance;
use lab_store::Store;

use crate::bench::Bench;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::terminal::say;
use crate::{recording, store};

use super::Arguments;
use super::sides::Sides;

/// Rounds of uninterrupted repetitions where nobody asks for a number.
const CLOSING: u32 = 4;

/// What is decided before the first launch.
pub(super) struct Design {
    pub(super) mode: Mode,
    pub(super) layouts: Layouts,
    pub(super) seed: u64,
    pub(super) stopping: StoppingPlan,
    pub(super) each_pair: u32,
    pub(super) closing: u32,
}

impl Design {
    pub(super) fn of(arguments: &Arguments, sides: &Sides, benches: &[Bench<'_>; 2]) -> Self {
        let each_pair = arguments.each_pair.unwrap_or(u32::from(sides.judge_energy(benches)));
        Self {
            mode: sides.mode(arguments, benches),
            layouts: arguments.layouts(),
            seed: arguments.seed(),
            stopping: arguments.stopping(),
            each_pair,
            closing: arguments.closing.unwrap_or(CLOSING).max(each_pair),
        }
    }
}

/// What JSON carries exactly (decision 9).
pub(super) const GREATEST_SEED: u64 = (1 << 53) - 1;

/// Draws a seed that JSON carries exactly, from the random bits of a new id.
pub(super) fn drawn_seed() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1 & GREATEST_SEED
}

/// Puts the headers of both sides together, each with what it knows of the experiment.
pub(super) fn headers(
    sides: &Sides,
    benches: &[Bench<'_>; 2],
    design: &Design,
    store: &Store,
) -> Result<[SessionHeader; 2]> {
    let repeat = design.stopping.most();
    let header = |side: usize| recording::header(&sides.plans[side], repeat, design.mode, &benches[side]);
    let headers = [header(0)?, header(1)?];
    let calibrations = store::calibrations(store, &headers[0].fingerprint.family(), None)?;
    let noise = calibrations.ab.map(|own| own.noise.noise()).unwrap_or_default();
    Ok(paired(headers, design, noise))
}

/// Makes sessions the two sides of one experiment.
pub(super) fn paired(mut headers: [SessionHeader; 2], design: &Design, noise: Noise) -> [SessionHeader; 2] {
    let Design { mode, layouts, seed, ref stopping, closing, .. } = *design;
    let ids = headers.each_ref().map(|header| header.id);
    let id = uuid::Uuid::now_v7();
    for (header, (side, other)) in headers.iter_mut().zip([(Side::A, ids[1]), (Side::B, ids[0])]) {
        let (stopping, closing) = (stopping.clone(), Some(closing));
        let experiment = Experiment { id, side, other, mode, layouts, seed, stopping, noise, closing };
        header.experiment = Some(experiment);
    }
    headers
}

/// Returns the one part in which the two sides differ, or none. A change is asked about one part at a time.
pub(super) fn varied(headers: &[SessionHeader; 2]) -> Result<Option<PartKind>> {
    let differences = headers[0].fingerprint.differences(&headers[1].fingerprint);
    let mut parts: Vec<PartKind> = differences.iter().map(|own| own.part).collect();
    parts.dedup();
    match parts.as_slice() {
        [] => Ok(None),
        [part] => Ok(Some(*part)),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(Failure::with(
                Exit::Refused,
                anyhow!(
                    "the two sides differ in {}; what would the difference come from?",
                    names.join(" and ")
                ),
            )
            .hint("let the plans differ in one part of the fingerprint only: model, plan, backend or engine"))
        }
    }
}

pub(super) fn announce(headers: &[SessionHeader; 2], design: &Design, vary: Option<PartKind>) {
    let what = vary.map_or("nothing differs".to_owned(), |part| format!("{part} differs"));
    let [a, b] = headers.each_ref().map(|header| &header.plan_name);
    let plans = if a == b { a.clone() } else { format!("{a} against {b}") };
    say(&format!("{plans}: {what}, {}, at most {} pairs", design.mode, design.stopping.most()));
}

/// Says before anything runs that so few pairs cannot tell, where that is known.
pub(super) fn warn(header: &SessionHeader, stopping: &StoppingPlan, store: &Store) -> Result<()> {
    let Some(Tolerance::Relative(tolerance)) = header.tolerance(speed()) else { return Ok(()) };
    let calibrations = store::calibrations(store, &header.fingerprint.family(), None)?;
    if let Some(reach) = calibrations.too_few_pairs(stopping, tolerance) {
        let most = stopping.most();
        let advice = if most < MOST_PAIRS { "needs more (`--pairs`)" } else { "is finer than they can tell" };
        say(&format!(
            "note: by calibration, experiments of {most} pairs with nothing changed differ by up to {:.1} % here; the tolerance of \
             {:.1} % {advice}",
            reach * 100.0,
            tolerance * 100.0
        ));
    }
    Ok(())
}

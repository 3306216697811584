//! What the blocks of `lab overhead` show, and what others did to them.

use std::collections::BTreeMap;

use lab_compare::paired::{
    Arm, Block, PairedEffect, PairedError, blocks_needed, is_equivalent, paired_effect, undisturbed_effect,
};
use lab_formats::overhead::{LeftOutBlocks, OverheadConclusion};

/// What a toggle experiment saw.
#[derive(Default)]
pub(super) struct Toggled {
    pub(super) blocks: Vec<Block>,
    /// Of each block, the rules of validity by which others disturbed it; none for a quiet one.
    pub(super) disturbances: Vec<Vec<&'static str>>,
    /// The sampling thread's share of each block with instruments, in percent.
    pub(super) sampler: Vec<f64>,
    /// Its ticks in all of them.
    pub(super) n_ticks: usize,
}

impl Toggled {
    pub(super) fn is_disturbed(&self) -> Vec<bool> {
        self.disturbances.iter().map(|rules| !rules.is_empty()).collect()
    }

    /// Returns how many blocks each rule left out.
    pub(super) fn left_out_by(&self) -> Vec<LeftOutBlocks> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for rule in self.disturbances.iter().flatten() {
            *counts.entry(rule).or_default() += 1;
        }
        counts.into_iter().map(|(rule, blocks)| LeftOutBlocks { rule: rule.to_owned(), blocks }).collect()
    }

    /// Returns the mean time of a token in the blocks of an arm that the judgement rests on, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "no experiment comes near 2^53 ns")]
    pub(super) fn token_ms(&self, arm: Arm, judged: &Judged) -> f64 {
        let with_rules = self.blocks.iter().zip(&self.disturbances);
        let counted = with_rules.filter(|(_, rules)| judged.is_too_disturbed || rules.is_empty());
        let of_arm: Vec<&Block> = counted.map(|(block, _)| block).filter(|block| block.arm == arm).collect();
        let nanos: u64 = of_arm.iter().map(|block| block.time_ns).sum();
        let tokens: u64 = of_arm.iter().map(|block| u64::from(block.tokens)).sum();
        nanos as f64 / tokens.max(1) as f64 / 1e6
    }
}

/// What the blocks show.
pub(super) struct Judged {
    /// The effect, from the comparisons that nobody disturbed; from all where too few are left.
    pub(super) effect: PairedEffect,
    /// Comparisons that the blocks give, disturbed ones included.
    pub(super) n_comparisons: usize,
    /// Comparisons that nobody disturbed.
    pub(super) n_left: usize,
    /// Whether these are too few to judge by.
    pub(super) is_too_disturbed: bool,
}

impl Judged {
    pub(super) fn of(toggled: &Toggled) -> Result<Self, PairedError> {
        let all = paired_effect(&toggled.blocks)?;
        let n_comparisons = all.n_pairs;
        match undisturbed_effect(&toggled.blocks, &toggled.is_disturbed()) {
            Ok(effect) => Ok(Self { n_left: effect.n_pairs, effect, n_comparisons, is_too_disturbed: false }),
            Err(PairedError::Disturbed { n_left, .. }) => {
                Ok(Self { effect: all, n_comparisons, n_left, is_too_disturbed: true })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn conclusion(&self, margin: f64) -> OverheadConclusion {
        let PairedEffect { low, high, .. } = self.effect;
        let is_beyond = low > 1.0 + margin || high < 1.0 - margin;
        match (is_equivalent(&self.effect, margin), is_beyond) {
            _ if self.is_too_disturbed => OverheadConclusion::Inconclusive,
            (true, _) => OverheadConclusion::Equivalent,
            (false, true) => OverheadConclusion::Beyond,
            (false, false) => OverheadConclusion::Inconclusive,
        }
    }

    pub(super) fn blocks_needed(&self, margin: f64) -> Option<usize> {
        if self.is_too_disturbed { None } else { blocks_needed(&self.effect, margin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many quiet blocks in which instruments cost nothing.
    fn quiet(n_blocks: usize) -> Toggled {
        let arm = |index: usize| if index.is_multiple_of(2) { Arm::Off } else { Arm::On };
        let block = |index| Block { arm: arm(index), tokens: 4, time_ns: 4_000_000 };
        Toggled {
            blocks: (0..n_blocks).map(block).collect(),
            disturbances: vec![Vec::new(); n_blocks],
            ..Toggled::default()
        }
    }

    #[test]
    fn a_few_blocks_that_others_disturbed_are_left_out_of_every_figure() {
        let mut toggled = quiet(401);
        for block in [51, 53] {
            toggled.blocks[block].time_ns *= 50;
            toggled.disturbances[block] = vec!["run-queue"];
        }
        toggled.disturbances[53].push("steal");
        let judged = Judged::of(&toggled).unwrap();
        assert_eq!((judged.n_comparisons, judged.n_left, judged.is_too_disturbed), (200, 198, false));
        assert_eq!(judged.conclusion(0.005), OverheadConclusion::Equivalent);
        assert!((toggled.token_ms(Arm::On, &judged) - 1.0).abs() < 1e-12);
        let left_out: Vec<(String, usize)> =
            toggled.left_out_by().into_iter().map(|own| (own.rule, own.blocks)).collect();
        assert_eq!(left_out, [("run-queue".to_owned(), 2), ("steal".to_owned(), 1)]);
    }

    #[test]
    fn too_many_disturbed_blocks_give_no_verdict_whatever_their_figures_are() {
        let mut toggled = quiet(401);
        // Beyond any margin: every block with instruments seems to take half the time.
        for block in (1..401).step_by(2) {
            toggled.blocks[block].time_ns /= 2;
        }
        assert_eq!(Judged::of(&toggled).unwrap().conclusion(0.005), OverheadConclusion::Beyond);
        toggled.disturbances.fill(vec!["other-load"]);
        let judged = Judged::of(&toggled).unwrap();
        assert_eq!((judged.n_left, judged.is_too_disturbed), (0, true));
        assert_eq!(judged.conclusion(0.005), OverheadConclusion::Inconclusive);
        assert_eq!(judged.blocks_needed(0.005), None, "more blocks beside others would tell no more");
        assert!(toggled.token_ms(Arm::On, &judged) > 0.0, "figures of all blocks are shown");
    }
}

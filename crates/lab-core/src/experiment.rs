//! A paired experiment (`lab ab`): two sides whose launches run in pairs, what the session of each side knows of it, and
//! what was decided about it before the first launch.
//!
//! ```text
//!   pair 1            pair 2            pair 3 …          one launch a side; both lie alike in memory
//!   A ─┐ ┌─ A ─┐      ─┐ ┌─ B ─┐                          turns: the same tokens on either side, in the order
//!      B─┘     B          A     A                         A B, B A, A B …
//! ```

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fingerprint::Mode;
use crate::metric::Reading;
use crate::record::SessionId;

/// A side of a paired experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with: the baseline.
    A,
    /// What is under judgement: the candidate.
    B,
}

impl Side {
    /// Both, A first.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Returns the other side.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Returns the side's place wherever both are listed, as in [`Self::BOTH`].
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// What a session that is one side of a paired experiment knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Experiment {
    /// The experiment's id, the same on both sides.
    #[schemars(with = "String")]
    pub id: Uuid,
    /// Which side the session is.
    pub side: Side,
    /// The session of the other side.
    #[schemars(with = "String")]
    pub other: SessionId,
    /// How the two launches of a pair share the machine: in turn, or one after the other.
    pub mode: Mode,
    /// Whose memory lies where.
    pub layouts: Layouts,
    /// What order and memory layout are drawn from.
    pub seed: u64,
    /// When it stops, and what an interval of it is worth.
    pub stopping: StoppingPlan,
    /// What calibration knew before it began.
    #[serde(default)]
    pub noise: Noise,
    /// Most rounds of uninterrupted repetitions that end it; none where that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<u32>,
}

/// What calibration knows of pairs of launches, beyond what an experiment sees of itself. Fixed before the experiment begins,
/// like its stopping plan: the same recordings give the same interval, whatever is calibrated later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Noise {
    /// Correlation of the log-ratios of neighbouring pairs.
    pub serial_correlation: f64,
    /// Standard deviation of what all pairs of one experiment share, on the scale of log-ratios.
    pub bias: f64,
    /// Experiments that it was learnt from; 0 where nothing is known.
    pub experiments: usize,
}

/// What a session that was measured until it was decided against another knows of that (`lab run --until`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Until {
    /// The session that it was held against: the baseline.
    #[schemars(with = "String")]
    pub against: SessionId,
    /// When it stops, in launches, and what an interval of it is worth.
    pub stopping: StoppingPlan,
}

/// When measuring stops, fixed before it starts. An interval taken after one of several looks is wider than one
/// taken once: whoever stops when the interval looks good must pay for having looked.
///
/// It counts pairs of launches in an experiment, and launches in a session that is measured until it is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "UncheckedStoppingPlan")]
pub struct StoppingPlan {
    /// After how many pairs or launches the data are looked at, rising; the last is the most there will be.
    pub looks: Vec<u32>,
    /// How sure all looks together are: the chance that every interval holds the truth.
    pub confidence: f64,
    /// How sure the interval of a single look is.
    pub look_confidence: f64,
}

/// A plan as it was stored: nobody vouches for it.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "StoppingPlan")]
struct UncheckedStoppingPlan {
    /// After how many pairs or launches the data are looked at, rising; the last is the most there will be.
    looks: Vec<u32>,
    /// How sure all looks together are: the chance that every interval holds the truth.
    confidence: f64,
    /// How sure the interval of a single look is.
    look_confidence: f64,
}

impl TryFrom<UncheckedStoppingPlan> for StoppingPlan {
    type Error = String;

    fn try_from(stored: UncheckedStoppingPlan) -> Result<Self, String> {
        let UncheckedStoppingPlan { looks, confidence, look_confidence } = stored;
        let is_rising = looks.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_rising || looks.first().is_none_or(|first| *first == 0) {
            return Err(format!("a stopping plan whose looks do not rise from 1 up: {looks:?}"));
        }
        let is_share = |own: f64| own > 0.0 && own < 1.0;
        match [confidence, look_confidence].into_iter().find(|own| !is_share(*own)) {
            Some(own) => Err(format!("a stopping plan with a confidence of {own}, not between 0 and 1")),
            None => Ok(Self { looks, confidence, look_confidence }),
        }
    }
}

impl StoppingPlan {
    /// Returns the most pairs or launches there will be.
    pub fn most(&self) -> u32 {
        self.looks.last().copied().unwrap_or(0)
    }

    /// Returns whether the data are looked at after this many.
    pub fn looks_after(&self, n: u32) -> bool {
        self.looks.contains(&n)
    }
}

/// Where an engine's memory begins to lie, with the kernel's own shuffling off: the same for both sides of a pair, another
/// one for each pair.
///
/// Where code and data lie moves speed by percents (Mytkowicz, Diwan, Hauswirth and Sweeney 2009, "Producing Wrong Data
/// Without Doing Anything Obviously Wrong!", ASPLOS): one fixed layout would judge the layout, and one drawn for each
/// launch would put its noise into every difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Layout {
    /// Bytes of environment that move the stack: a multiple of 16, below 4096.
    pub padding_bytes: u32,
    /// Pages that the region of mappings is moved down by: below 4096.
    pub mapping_pages: u32,
    /// Bytes that an engine which heeds it leaves unused at the start of its heap: a multiple of 16, below 65536.
    pub heap_bytes: u32,
}

impl Layout {
    /// Draws the layout of a pair, the same for the same seed on every machine.
    pub fn draw(seed: u64, pair: u32) -> Self {
        let mut words = stream(seed, pair);
        Self {
            padding_bytes: below(&mut words, 256) * 16,
            mapping_pages: below(&mut words, 4096),
            heap_bytes: below(&mut words, 4096) * 16,
        }
    }
}

/// Whose memory lies where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layouts {
    /// Drawn for each pair, and the same for both of its sides: what a layout does to speed it does to both.
    #[default]
    Shared,
    /// Drawn for each launch.
    Each,
    /// One for the whole experiment.
    Fixed,
    /// Left to the kernel.
    Kernel,
}

impl Layouts {
    /// Returns the layout of a launch; none where it is left to the kernel.
    pub fn of(self, seed: u64, pair: u32, side: Side) -> Option<Layout> {
        match self {
            Self::Shared => Some(Layout::draw(seed, pair)),
            Self::Each => Some(Layout::draw(seed, 2 * pair + side as u32)),
            Self::Fixed => Some(Layout::draw(seed, 0)),
            Self::Kernel => None,
        }
    }

    /// Returns the words that a fingerprint has for it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Shared => "drawn for each pair",
            Self::Each => "drawn for each launch",
            Self::Fixed => "drawn once",
            Self::Kernel => "left to the kernel",
        }
    }
}

/// Returns the side that goes first in a pair: drawn for every two pairs, and the other way round in the second of them,
/// so that each side goes first equally often after an even number of pairs.
pub fn first_side(seed: u64, pair: u32) -> Side {
    let drawn = match below(&mut stream(!seed, pair / 2), 2) {
        0 => Side::A,
        _ => Side::B,
    };
    if pair.is_multiple_of(2) { drawn } else { drawn.other() }
}

fn stream(seed: u64, number: u32) -> ChaCha8Rng {
    let mut words = ChaCha8Rng::seed_from_u64(seed);
    words.set_stream(u64::from(number));
    words
}

/// Draws a number below a power of two.
fn below(words: &mut ChaCha8Rng, bound: u32) -> u32 {
    debug_assert!(bound.is_power_of_two());
    words.next_u32() & (bound - 1)
}

/// One turn of a side: some tokens in a row, while the other side waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// When the request arrived, by the engine's own stamp (monotonic nanoseconds).
    pub request_ns: u64,
    /// Tokens it yielded.
    pub n_tokens: u32,
    /// What else used the machine meanwhile.
    pub evidence: Evidence,
}

/// What else used the machine during one turn. Nothing of it tells how long the turn took: turns may be left out for
/// what others did, never for being slow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Processor time stolen from the engine's cores, in nanoseconds.
    pub steal_ns: Reading<u64>,
    /// Time that the engine's threads were ready and waited for a CPU, in nanoseconds: for others, or for each other.
    pub run_delay_ns: Reading<u64>,
    /// CPU time of the engine's process, in nanoseconds.
    pub own_cpu_ns: Reading<u64>,
    /// CPU time that the waiting side's process took, in nanoseconds.
    pub waiting_cpu_ns: Reading<u64>,
}

/// Counters that tell what else uses the machine, read between the turns of an experiment ([`Evidence`] is their rise) and
/// between the blocks of `lab overhead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Processor time stolen from the engine's cores since boot, in nanoseconds.
    pub steal_ns: Reading<u64>,
    /// Time that the engine's cores were busy since boot, all together, in nanoseconds.
    pub busy_ns: Reading<u64>,
    /// Time the engine's threads waited for a CPU, in nanoseconds.
    pub run_delay_ns: Reading<u64>,
    /// CPU time of the engine's process, in nanoseconds.
    pub cpu_ns: Reading<u64>,
}

impl Evidence {
    /// Returns what happened between two glances at the side whose turn it was, and two at the side that waited.
    pub fn between(own: [&Glance; 2], waiting: [&Glance; 2]) -> Self {
        let rise = |glances: [&Glance; 2], of: fn(&Glance) -> &Reading<u64>| -> Reading<u64> {
            let [before, after] = glances.map(of);
            let rise = || {
                let (before, after) = (before.as_result()?, after.as_result()?);
                after.checked_sub(*before).ok_or_else(|| "the counter went backwards".to_owned())
            };
            rise().into()
        };
        Self {
            steal_ns: rise(own, |glance| &glance.steal_ns),
            run_delay_ns: rise(own, |glance| &glance.run_delay_ns),
            own_cpu_ns: rise(own, |glance| &glance.cpu_ns),
            waiting_cpu_ns: rise(waiting, |glance| &glance.cpu_ns),
        }
    }

    /// Returns what happened between two glances at either side, while both worked slice by slice and the other was paused: a
    /// paused side takes nothing, and what was stolen is shared out by the CPU time that each took, so that all of it is held
    /// against the work of both together.
    pub fn of_slices(own: [&Glance; 2], waiting: [&Glance; 2]) -> Self {
        let all = Self::between(own, waiting);
        let times = (all.steal_ns.value(), all.own_cpu_ns.value(), all.waiting_cpu_ns.value());
        let steal_ns = match times {
            (Some(steal), Some(own), Some(others)) if own + others > 0 => {
                let share = u128::from(*steal) * u128::from(*own) / u128::from(own + others);
                Reading::Value(u64::try_from(share).unwrap_or(u64::MAX))
            }
            _ => all.steal_ns,
        };
        let waiting_cpu_ns = Reading::Unavailable("the side that waited was paused".to_owned());
        Self { steal_ns, waiting_cpu_ns, ..all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sides_index_is_its_place_among_both() {
        assert_eq!(Side::BOTH.map(Side::index), [0, 1]);
        assert_eq!(Side::BOTH.map(|side| Side::BOTH[side.index()]), Side::BOTH);
    }

    #[test]
    fn each_side_goes_first_once_in_every_two_pairs() {
        for seed in 0..50 {
            for pair in (0..20).step_by(2) {
                assert_eq!(first_side(seed, pair), first_side(seed, pair + 1).other());
            }
        }
        let firsts: Vec<Side> = (0..40).step_by(2).map(|pair| first_side(1, pair)).collect();
        assert!(firsts.contains(&Side::A) && firsts.contains(&Side::B), "{firsts:?}");
    }

    #[test]
    fn layouts_are_drawn_anew_for_each_pair_and_the_same_for_a_seed() {
        assert_eq!(Layout::draw(7, 3), Layout::draw(7, 3));
        assert_ne!(Layout::draw(7, 3), Layout::draw(7, 4));
        assert_ne!(Layout::draw(7, 3), Layout::draw(8, 3));
        for pair in 0..500 {
            let Layout { padding_bytes, mapping_pages, heap_bytes } = Layout::draw(1, pair);
            assert!(padding_bytes < 4096 && padding_bytes.is_multiple_of(16));
            assert!(mapping_pages < 4096);
            assert!(heap_bytes < 65_536 && heap_bytes.is_multiple_of(16));
        }
    }

    #[test]
    fn a_stored_stopping_plan_that_makes_no_sense_is_refused() {
        let plan = StoppingPlan { looks: vec![4, 8], confidence: 0.95, look_confidence: 0.98 };
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(serde_json::from_value::<StoppingPlan>(json.clone()).unwrap(), plan);
        for (key, value, words) in [
            ("looks", serde_json::json!([]), "do not rise from 1 up: []"),
            ("looks", serde_json::json!([0, 4]), "do not rise from 1 up: [0, 4]"),
            ("looks", serde_json::json!([4, 4]), "do not rise from 1 up: [4, 4]"),
            ("looks", serde_json::json!([8, 4]), "do not rise from 1 up: [8, 4]"),
            ("confidence", serde_json::json!(1.0), "a confidence of 1, not between 0 and 1"),
            ("confidence", serde_json::json!(0.0), "a confidence of 0"),
            ("look_confidence", serde_json::json!(1.5), "a confidence of 1.5"),
            ("look_confidence", serde_json::json!(-0.5), "a confidence of -0.5"),
        ] {
            let mut damaged = json.clone();
            damaged[key] = value;
            let error = serde_json::from_value::<StoppingPlan>(damaged).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn evidence_is_the_rise_of_counters_or_the_reason_why_it_is_not_known() {
        let glance = |at: u64| Glance {
            steal_ns: Reading::Value(at),
            busy_ns: Reading::Value(at),
            run_delay_ns: Reading::Unavailable("hidden".to_owned()),
            cpu_ns: Reading::Value(3 * at),
        };
        let evidence = Evidence::between([&glance(10), &glance(15)], [&glance(10), &glance(11)]);
        assert_eq!(evidence.steal_ns, Reading::Value(5));
        assert_eq!(evidence.run_delay_ns, Reading::Unavailable("hidden".to_owned()));
        assert_eq!(evidence.own_cpu_ns, Reading::Value(15));
        assert_eq!(evidence.waiting_cpu_ns, Reading::Value(3));
        let backwards = Evidence::between([&glance(15), &glance(10)], [&glance(10), &glance(11)]);
        assert!(backwards.steal_ns.value().is_none());
    }

    #[test]
    fn of_slices_each_side_has_its_share_of_what_was_stolen_and_nothing_of_the_others_time() {
        let glance = |steal_ns: u64, cpu_ns: u64| Glance {
            steal_ns: Reading::Value(steal_ns),
            busy_ns: Reading::Value(0),
            run_delay_ns: Reading::Value(cpu_ns / 100),
            cpu_ns: Reading::Value(cpu_ns),
        };
        let (ours, theirs) = ([glance(50, 1_000), glance(90, 1_600)], [glance(50, 4_000), glance(90, 4_200)]);
        let evidence = Evidence::of_slices(ours.each_ref(), theirs.each_ref());
        let Evidence { steal_ns, run_delay_ns, own_cpu_ns, waiting_cpu_ns } = evidence;
        assert_eq!([steal_ns, run_delay_ns, own_cpu_ns], [30, 6, 600].map(Reading::Value));
        assert!(waiting_cpu_ns.value().is_none());
        let blind = Glance { cpu_ns: Reading::Unavailable("hidden".to_owned()), ..glance(90, 0) };
        let evidence = Evidence::of_slices([&ours[0], &blind], theirs.each_ref());
        assert_eq!(evidence.steal_ns, Reading::Value(40), "who took what is not known");
    }

    #[test]
    fn the_evidence_of_an_older_lab_which_counted_switches_still_reads() {
        let evidence = Evidence {
            steal_ns: Reading::Value(1),
            run_delay_ns: Reading::Value(2),
            own_cpu_ns: Reading::Value(3),
            waiting_cpu_ns: Reading::Unavailable("hidden".to_owned()),
        };
        let mut stored = serde_json::to_value(&evidence).unwrap();
        stored["involuntary_switches"] = serde_json::to_value(Reading::Value(4_u64)).unwrap();
        assert_eq!(serde_json::from_value::<Evidence>(stored).unwrap(), evidence);
    }
}

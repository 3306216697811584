//! What a plan says about measuring energy and watching the machine.

use std::ops::Range;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::check::complaint;
use super::{PlanError, raw};
use crate::energy::MeterKind;
use crate::nearest::nearest;

/// How energy is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnergySpec {
    /// Whether a session without an energy meter is refused before anything runs.
    pub required: bool,
    /// Sources whose energy is summed up; empty to measure none.
    pub sources: Vec<EnergySource>,
    /// The meter outside the machine, where `sources` names it.
    pub external: Option<ExternalMeter>,
    /// How long the idle machine is measured before the first launch; zero to not.
    pub idle: Duration,
}

/// A family of energy meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnergySource {
    /// The best there is for the engine's device.
    Auto,
    /// No energy is measured.
    None,
    /// The processor's own counters through powercap.
    Rapl,
    /// The processor's own counters through perf events.
    RaplPerf,
    /// Sensors on the hardware monitoring bus.
    Hwmon,
    /// NVIDIA accelerators.
    Nvml,
    /// AMD accelerators.
    Amdgpu,
    /// The battery's discharge.
    Battery,
    /// The plan's own external meter.
    External,
}

impl EnergySource {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Auto,
        Self::None,
        Self::Rapl,
        Self::RaplPerf,
        Self::Hwmon,
        Self::Nvml,
        Self::Amdgpu,
        Self::Battery,
        Self::External,
    ];

    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Rapl => "rapl",
            Self::RaplPerf => "rapl-perf",
            Self::Hwmon => "hwmon",
            Self::Nvml => "nvml",
            Self::Amdgpu => "amdgpu",
            Self::Battery => "battery",
            Self::External => "external",
        }
    }

    /// Tells whether two sources may count the same energy on any machine: two doors to the same counters, sensors that
    /// may see what another source counts, and a battery that feeds all that the other sensors see. What lies outside the
    /// machine is the plan's own affair.
    pub const fn overlaps(self, other: Self) -> bool {
        use EnergySource::{Amdgpu, Battery, Hwmon, Nvml, Rapl, RaplPerf};
        match (self, other) {
            (Rapl, RaplPerf) | (RaplPerf, Rapl) | (Hwmon, Battery) | (Battery, Hwmon) => true,
            (Hwmon | Battery, part) | (part, Hwmon | Battery) => {
                matches!(part, Rapl | RaplPerf | Nvml | Amdgpu)
            }
            _ => false,
        }
    }

    /// Returns the first two of `sources` that may count the same energy.
    pub fn overlap(sources: &[Self]) -> Option<(Self, Self)> {
        let earlier = |at: usize| sources[..at].iter();
        let mut pairs =
            sources.iter().enumerate().flat_map(|(at, one)| earlier(at).map(move |other| (*other, *one)));
        pairs.find(|(one, other)| one.overlaps(*other))
    }
}

/// A meter outside the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalMeter {
    /// Whom to ask.
    pub address: ExternalAddress,
    /// Where the number stands in an answer of JSON; the whole answer is the number where absent.
    pub pointer: Option<String>,
    /// What the number is.
    pub unit: EnergyUnit,
    /// Whether it was measured.
    pub kind: MeterKind,
    /// Time between two readings.
    pub interval: Duration,
}

/// Whom to ask for an external meter's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalAddress {
    /// A program: path, then arguments.
    Command(Vec<String>),
    /// An HTTP address.
    Url(String),
}

/// What an external meter's number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnergyUnit {
    /// Energy counted since some origin.
    Joules,
    /// Energy counted since some origin, in watt-hours.
    WattHours,
    /// Power at the moment.
    Watts,
}

/// How the machine is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstrumentSpec {
    /// Ticks a second of the sampling thread; 0 is off.
    pub sample_hz: f64,
}

/// Ten ticks a second: one every few tokens of a small model, and a hundredth of a percent of a core.
const DEFAULT_SAMPLE_HZ: f64 = 10.0;
/// Beyond a tick a millisecond the sampling thread is a load of its own.
const GREATEST_SAMPLE_HZ: f64 = 1000.0;
/// Smart plugs answer about once a second.
const DEFAULT_INTERVAL_MS: u64 = 1000;
const LEAST_INTERVAL_MS: u64 = 10;
/// A meter that is asked less than once an hour meters no execution.
const GREATEST_INTERVAL_MS: u64 = 3_600_000;

pub(super) fn check_instruments(instruments: &raw::Instruments) -> Result<InstrumentSpec, PlanError> {
    let Some(sample_hz) = &instruments.sample_hz else {
        return Ok(InstrumentSpec { sample_hz: DEFAULT_SAMPLE_HZ });
    };
    match *sample_hz.get_ref() {
        hz if (0.0..=GREATEST_SAMPLE_HZ).contains(&hz) => Ok(InstrumentSpec { sample_hz: hz }),
        hz => Err(complaint(
            sample_hz.span(),
            format!("`sample_hz` is {hz}, not a number from 0 to {GREATEST_SAMPLE_HZ}"),
            Some("0 turns the sampling thread off"),
        )),
    }
}

pub(super) fn check_energy(energy: raw::Energy) -> Result<EnergySpec, PlanError> {
    let raw::Energy { required, sources, external, idle_s } = energy;
    let external_span = external.as_ref().map(Spanned::span);
    let external = external.map(check_external).transpose()?;
    let span = sources.as_ref().map_or(0..0, Spanned::span);
    let sources = check_sources(sources, external.is_some())?;
    let names_external = sources.contains(&EnergySource::External);
    match (names_external, external_span) {
        (true, None) => {
            return Err(complaint(span, "the source `external` needs a table `[energy.external]`", None));
        }
        (false, Some(span)) => {
            return Err(complaint(
                span,
                "`sources` does not name this meter",
                Some("add `external` to `sources`"),
            ));
        }
        _ => {}
    }
    if required && sources.is_empty() {
        let help = Some("drop `required`, or name a source");
        return Err(complaint(span, "energy is required, but `sources` is `none`", help));
    }
    Ok(EnergySpec {
        required,
        sources,
        external,
        idle: Duration::from_secs(idle_s.unwrap_or_default().into()),
    })
}

fn check_sources(
    sources: Option<Spanned<Vec<Spanned<String>>>>,
    has_external: bool,
) -> Result<Vec<EnergySource>, PlanError> {
    let Some(sources) = sources else {
        return Ok(vec![if has_external { EnergySource::External } else { EnergySource::Auto }]);
    };
    let span = sources.span();
    let names = sources.into_inner();
    let mut checked = names.iter().map(check_source).collect::<Result<Vec<_>, _>>()?;
    let n_named = checked.len();
    checked.sort_unstable();
    checked.dedup();
    let stands_alone = |source: &EnergySource| matches!(source, EnergySource::Auto | EnergySource::None);
    match checked.as_slice() {
        [] => Err(complaint(span, "`sources` names no source", Some("`none` measures no energy"))),
        _ if checked.len() < n_named => Err(complaint(span, "`sources` names a source twice", None)),
        [_, _, ..] if checked.iter().any(stands_alone) => {
            Err(complaint(span, "`auto` and `none` stand alone", None))
        }
        [EnergySource::None] => Ok(Vec::new()),
        _ => check_overlap(&names, &checked).map(|()| checked),
    }
}

/// Whether the processor's and a GPU's counters are one depends on the machine, and is found out there.
fn check_overlap(names: &[Spanned<String>], sources: &[EnergySource]) -> Result<(), PlanError> {
    let Some((one, other)) = EnergySource::overlap(sources) else { return Ok(()) };
    let is_either = |name: &&Spanned<String>| [one.name(), other.name()].contains(&name.get_ref().as_str());
    let later = names.iter().rfind(is_either).map_or(0..0, Spanned::span);
    let message = format!("`{}` and `{}` count the same energy", one.name(), other.name());
    Err(complaint(later, message, Some("name one of them")))
}

fn check_source(name: &Spanned<String>) -> Result<EnergySource, PlanError> {
    let known = || EnergySource::ALL.into_iter();
    known().find(|source| source.name() == name.get_ref()).ok_or_else(|| {
        let likely = nearest(name.get_ref(), known().map(EnergySource::name));
        let names: Vec<&str> = known().map(EnergySource::name).collect();
        PlanError {
            message: format!("unknown energy source `{}`", name.get_ref()),
            span: Some(name.span()),
            help: Some(likely.map_or_else(
                || format!("known are {}", names.join(", ")),
                |likely| format!("did you mean `{likely}`?"),
            )),
        }
    })
}

fn check_external(meter: Spanned<raw::ExternalMeter>) -> Result<ExternalMeter, PlanError> {
    let span = meter.span();
    let raw::ExternalMeter { command, url, pointer, unit, kind, interval_ms } = meter.into_inner();
    Ok(ExternalMeter {
        address: check_address(command, url, span)?,
        pointer: pointer.map(check_pointer).transpose()?,
        unit,
        kind: kind.unwrap_or(MeterKind::Measured),
        interval: check_interval(interval_ms)?,
    })
}

fn check_address(
    command: Option<Spanned<Vec<String>>>,
    url: Option<Spanned<String>>,
    table: Range<usize>,
) -> Result<ExternalAddress, PlanError> {
    const EXACTLY_ONE: &str = "an external meter is exactly one of `command` and `url`";
    let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    match (command, url) {
        (None, None) => Err(complaint(table, EXACTLY_ONE, None)),
        (Some(_), Some(url)) => Err(complaint(url.span(), EXACTLY_ONE, Some("drop one of them"))),
        (Some(words), None) if words.get_ref().first().is_none_or(String::is_empty) => {
            Err(complaint(words.span(), "`command` names no program", None))
        }
        (Some(words), None) => Ok(ExternalAddress::Command(words.into_inner())),
        (None, Some(url)) if is_web(url.get_ref()) => Ok(ExternalAddress::Url(url.into_inner())),
        (None, Some(url)) => {
            Err(complaint(url.span(), format!("`{}` is no http or https address", url.get_ref()), None))
        }
    }
}

fn check_pointer(pointer: Spanned<String>) -> Result<String, PlanError> {
    if pointer.get_ref().starts_with('/') {
        return Ok(pointer.into_inner());
    }
    Err(complaint(pointer.span(), "`pointer` is a JSON pointer and starts with `/`", None))
}

fn check_interval(milliseconds: Option<Spanned<u64>>) -> Result<Duration, PlanError> {
    match milliseconds {
        None => Ok(Duration::from_millis(DEFAULT_INTERVAL_MS)),
        Some(own) if (LEAST_INTERVAL_MS..=GREATEST_INTERVAL_MS).contains(own.get_ref()) => {
            Ok(Duration::from_millis(own.into_inner()))
        }
        Some(own) => {
            let range = format!("`interval_ms` lies between {LEAST_INTERVAL_MS} and {GREATEST_INTERVAL_MS}");
            Err(complaint(own.span(), range, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    const HEAD: &str = "version = 1\nname = \"p\"\n[model]\nname = \"m\"\nsource.path = \"m.gguf\"\n\
                        [workload]\nprompt.random = 4\ngenerate = 2\n";

    /// Parses a plan with these lines at its end and returns what it says of energy, or the complaints.
    fn parse(lines: &str) -> Result<EnergySpec, String> {
        let joined = |errors: crate::plan::PlanErrors| {
            errors.0.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; ")
        };
        Plan::parse(&format!("{HEAD}{lines}")).map(|plan| plan.energy).map_err(joined)
    }

    /// Expects one complaint, and what it points at.
    #[track_caller]
    fn check_place(lines: &str, message: &str, place: &str) {
        let text = format!("{HEAD}{lines}");
        let errors = Plan::parse(&text).unwrap_err().0;
        let told = errors.iter().map(|error| (error.message.as_str(), &text[error.span.clone().unwrap()]));
        assert_eq!(told.collect::<Vec<_>>(), [(message, place)]);
    }

    #[test]
    fn energy_is_taken_from_the_best_source_unless_the_plan_says_otherwise() {
        let silent = parse("").unwrap();
        assert_eq!(
            (silent.sources, silent.required, silent.idle),
            (vec![EnergySource::Auto], false, Duration::ZERO)
        );
        let two = parse("[energy]\nsources = [\"nvml\", \"rapl\"]\nrequired = true\nidle_s = 3").unwrap();
        assert_eq!((two.sources, two.required), (vec![EnergySource::Rapl, EnergySource::Nvml], true));
        assert_eq!(two.idle, Duration::from_secs(3));
        assert!(parse("[energy]\nsources = [\"none\"]").unwrap().sources.is_empty());
    }

    #[test]
    fn an_external_meter_needs_no_further_word() {
        let plug = parse("[energy.external]\nurl = \"http://plug/\"\npointer = \"/power\"\nunit = \"watts\"")
            .unwrap();
        assert_eq!(plug.sources, [EnergySource::External]);
        let expected = ExternalMeter {
            address: ExternalAddress::Url("http://plug/".to_owned()),
            pointer: Some("/power".to_owned()),
            unit: EnergyUnit::Watts,
            kind: MeterKind::Measured,
            interval: Duration::from_secs(1),
        };
        assert_eq!(plug.external, Some(expected));
    }

    #[test]
    fn a_mistake_about_the_external_meter_points_at_its_key() {
        for (lines, message, place) in [
            ("url = \"ftp://x\"", "`ftp://x` is no http or https address", "\"ftp://x\""),
            ("command = []", "`command` names no program", "[]"),
            ("command = [\"\", \"x\"]", "`command` names no program", "[\"\", \"x\"]"),
            (
                "command = [\"x\"]\nurl = \"http://x\"",
                "an external meter is exactly one of `command` and `url`",
                "\"http://x\"",
            ),
            (
                "command = [\"x\"]\npointer = \"power\"",
                "`pointer` is a JSON pointer and starts with `/`",
                "\"power\"",
            ),
            ("command = [\"x\"]\ninterval_ms = 9", "`interval_ms` lies between 10 and 3600000", "9"),
            (
                "command = [\"x\"]\nkind = \"guessed\"",
                "unknown variant `guessed`, expected `measured` or `estimated`",
                "\"guessed\"",
            ),
        ] {
            check_place(&format!("[energy.external]\nunit = \"watts\"\n{lines}\n"), message, place);
        }
    }

    #[test]
    fn sources_that_count_the_same_energy_are_refused_at_the_later_one() {
        for (sources, message, place) in [
            ("\"rapl\", \"rapl-perf\"", "`rapl` and `rapl-perf` count the same energy", "\"rapl-perf\""),
            ("\"rapl-perf\", \"nvml\", \"rapl\"", "`rapl` and `rapl-perf` count the same energy", "\"rapl\""),
            ("\"nvml\", \"hwmon\"", "`hwmon` and `nvml` count the same energy", "\"hwmon\""),
            ("\"battery\", \"amdgpu\"", "`amdgpu` and `battery` count the same energy", "\"amdgpu\""),
        ] {
            check_place(&format!("[energy]\nsources = [{sources}]"), message, place);
        }
        let apart = "[energy]\nsources = [\"rapl\", \"nvml\", \"amdgpu\", \"external\"]\n\
                     [energy.external]\ncommand = [\"x\"]\nunit = \"watts\"";
        assert_eq!(parse(apart).unwrap().sources.len(), 4);
    }

    #[test]
    fn whether_two_sources_overlap_does_not_depend_on_their_order() {
        for one in EnergySource::ALL {
            assert!(!one.overlaps(one) && !one.overlaps(EnergySource::External), "{one:?}");
            for other in EnergySource::ALL {
                assert_eq!(one.overlaps(other), other.overlaps(one), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_said_at_its_place() {
        for (lines, complaint) in [
            ("[energy]\nsources = [\"rappl\"]", "unknown energy source `rappl`"),
            ("[energy]\nsources = []", "`sources` names no source"),
            ("[energy]\nsources = [\"auto\", \"rapl\"]", "`auto` and `none` stand alone"),
            ("[energy]\nsources = [\"rapl\", \"rapl\"]", "`sources` names a source twice"),
            ("[energy]\nsources = [\"external\"]", "the source `external` needs a table `[energy.external]`"),
            (
                "[energy]\nrequired = true\nsources = [\"none\"]",
                "energy is required, but `sources` is `none`",
            ),
            (
                "[energy.external]\nunit = \"watts\"",
                "an external meter is exactly one of `command` and `url`",
            ),
            (
                "[energy.external]\nurl = \"ftp://x\"\nunit = \"watts\"",
                "`ftp://x` is no http or https address",
            ),
            (
                "[energy]\nsources = [\"rapl\"]\n[energy.external]\ncommand = [\"x\"]\nunit = \"joules\"",
                "`sources` does not name this meter",
            ),
            ("[instruments]\nsample_hz = -1", "`sample_hz` is -1, not a number from 0 to 1000"),
        ] {
            assert_eq!(parse(lines).unwrap_err(), complaint, "{lines}");
        }
    }
}

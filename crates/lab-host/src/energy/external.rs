//! The plan's own meter: a program to run, or an address to ask, that tells one number.

mod ask;

use std::path::Path;
use std::time::Duration;

use lab_core::digest::Digest;
use lab_core::energy::EnergyMeter;
use lab_core::plan::{EnergyUnit, ExternalAddress, ExternalMeter};
use serde_json::Value;

use self::ask::{ask_address, run};
use super::account::Quantity;
use super::meter::{self, Description};
use crate::Unavailable;
use crate::roots::excerpt;

/// An answer that takes longer is none: five times the interval at which smart plugs are asked by default.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the meter. It is asked twice: for how finely it answers, and for its origin.
///
/// # Errors
///
/// Why it did not answer with a number.
pub(super) fn open(meter: &ExternalMeter) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let source = name(meter);
    let describe = |Unavailable { reason }| Unavailable::new(format!("`{source}` {reason}"));
    let first = answer(meter).map_err(describe)?;
    let (quantity, quantum_uj) = match meter.unit {
        EnergyUnit::Watts => (Quantity::Power, 1),
        EnergyUnit::Joules | EnergyUnit::WattHours => (Quantity::RisingEnergy, first.step_uj(meter.unit)),
    };
    let description = Description { source: source.clone(), quantity, quantum_uj, update: meter.interval };
    let (asked, source) = (meter.clone(), source.clone());
    let gauge = move || {
        let number = answer(&asked).and_then(|answer| answer.microunits(asked.unit));
        number.map_err(|Unavailable { reason }| Unavailable::new(format!("`{source}` {reason}")))
    };
    meter::paced(&description, meter.kind, meter.interval, Box::new(gauge))
}

/// Names the meter without what may be secret or differ by machine: arguments, directories, credentials, queries.
fn name(meter: &ExternalMeter) -> String {
    let address = match &meter.address {
        ExternalAddress::Command(words) => {
            let program = words.first().map(Path::new).and_then(Path::file_name);
            program.map(|program| program.to_string_lossy().into_owned()).unwrap_or_default()
        }
        ExternalAddress::Url(url) => {
            let address = url.split(['?', '#']).next().unwrap_or_default();
            let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
    };
    let mark = mark(meter);
    match &meter.pointer {
        Some(pointer) => format!("external {address} {pointer} ({mark})"),
        None => format!("external {address} ({mark})"),
    }
}

/// Tells two meters apart whose names hide where they differ.
fn mark(meter: &ExternalMeter) -> String {
    let words = match &meter.address {
        ExternalAddress::Command(words) => words.join("\0"),
        ExternalAddress::Url(url) => url.clone(),
    };
    Digest::of(words.as_bytes()).short()
}

fn answer(meter: &ExternalMeter) -> Result<Answer, Unavailable> {
    let text = match &meter.address {
        ExternalAddress::Command(words) => run(words, PATIENCE)?,
        ExternalAddress::Url(url) => ask_address(url, PATIENCE)?,
    };
    Answer::parse(&text, meter.pointer.as_deref())
}

/// A number as the meter wrote it.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    number: f64,
    n_decimals: i32,
}

impl Answer {
    fn parse(text: &str, pointer: Option<&str>) -> Result<Self, Unavailable> {
        let Some(pointer) = pointer else { return Self::of(text.trim()) };
        let document: Value = serde_json::from_str(text)
            .map_err(|error| Unavailable::new(format!("answered `{}`, not JSON: {error}", excerpt(text))))?;
        match document.pointer(pointer) {
            Some(Value::Number(number)) => Self::of(&number.to_string()),
            // Home automation tells states as text.
            Some(Value::String(text)) => Self::of(text.trim()),
            Some(other) => {
                let other = excerpt(&other.to_string());
                Err(Unavailable::new(format!("answered `{other}` at `{pointer}`, not a number")))
            }
            None => Err(Unavailable::new(format!("answered JSON without `{pointer}`: `{}`", excerpt(text)))),
        }
    }

    fn of(text: &str) -> Result<Self, Unavailable> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        let Some(number) = number else {
            return Err(Unavailable::new(format!("answered `{}`, not a number from 0 up", excerpt(text))));
        };
        let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals);
        let n_decimals = decimals.bytes().take_while(u8::is_ascii_digit).count();
        Ok(Self { number, n_decimals: i32::try_from(n_decimals).unwrap_or(i32::MAX) })
    }

    /// Returns the number in microjoules, or microwatts.
    fn microunits(&self, unit: EnergyUnit) -> Result<u64, Unavailable> {
        let micro = self.number * micro(unit);
        // Counters up to 2^53 uJ, which is 2.5 MWh, are exact.
        whole(micro)
            .ok_or_else(|| Unavailable::new(format!("answered {}, which is beyond counting", self.number)))
    }

    /// Returns a step of the last decimal in microjoules.
    fn step_uj(&self, unit: EnergyUnit) -> u64 {
        whole(micro(unit) * 10_f64.powi(-self.n_decimals)).unwrap_or_default().max(1)
    }
}

/// Returns how many microjoules, or microwatts, one of the unit is.
const fn micro(unit: EnergyUnit) -> f64 {
    match unit {
        EnergyUnit::Joules | EnergyUnit::Watts => 1e6,
        EnergyUnit::WattHours => 3600e6,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie in range")]
fn whole(number: f64) -> Option<u64> {
    (0.0..1e19).contains(&number).then(|| number.round() as u64)
}

#[cfg(test)]
mod tests {
    use lab_core::energy::MeterKind;

    use super::*;

    fn command(words: &[&str], unit: EnergyUnit) -> ExternalMeter {
        ExternalMeter {
            address: ExternalAddress::Command(words.iter().map(|word| (*word).to_owned()).collect()),
            pointer: None,
            unit,
            kind: MeterKind::Measured,
            interval: Duration::from_secs(1),
        }
    }

    #[test]
    fn an_answer_is_a_number_or_json_that_holds_one() {
        for (text, pointer, number, n_decimals) in [
            ("12.50\n", None, 12.5, 2),
            ("7", None, 7.0, 0),
            (r#"{"a": {"power": 3.25}}"#, Some("/a/power"), 3.25, 2),
            (r#"{"state": "41.7"}"#, Some("/state"), 41.7, 1),
            ("[4, 5]", Some("/1"), 5.0, 0),
        ] {
            let expected = Answer { number, n_decimals };
            assert_eq!(Answer::parse(text, pointer), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_answer_that_is_no_number_is_quoted() {
        for (text, pointer, reason) in [
            ("", None, "answered ``, not a number from 0 up"),
            ("-3", None, "answered `-3`, not a number from 0 up"),
            ("NaN", None, "answered `NaN`, not a number from 0 up"),
            ("{\"a\": true}", Some("/a"), "answered `true` at `/a`, not a number"),
            ("{}", Some("/a"), "answered JSON without `/a`: `{}`"),
        ] {
            assert_eq!(Answer::parse(text, pointer).unwrap_err().reason, reason);
        }
        let error = Answer::parse("12", Some("/a")).unwrap_err();
        assert_eq!(error.reason, "answered JSON without `/a`: `12`");
        assert!(
            Answer::parse("<html>", Some("/a"))
                .unwrap_err()
                .reason
                .starts_with("answered `<html>`, not JSON: ")
        );
    }

    #[test]
    fn units_are_microunits_and_the_last_decimal_is_the_step() {
        let answer = Answer::of("1.25").unwrap();
        assert_eq!(answer.microunits(EnergyUnit::Joules), Ok(1_250_000));
        assert_eq!(answer.microunits(EnergyUnit::WattHours), Ok(4_500_000_000));
        assert_eq!(
            (answer.step_uj(EnergyUnit::Joules), answer.step_uj(EnergyUnit::WattHours)),
            (10_000, 36_000_000)
        );
        assert_eq!(Answer::of("0.00000000001").unwrap().step_uj(EnergyUnit::Joules), 1);
        assert!(Answer::of("1e300").unwrap().microunits(EnergyUnit::Joules).is_err());
    }

    #[test]
    fn names_keep_arguments_directories_and_credentials_to_themselves() {
        let url = |url: &str| ExternalMeter {
            address: ExternalAddress::Url(url.to_owned()),
            pointer: Some("/apower".to_owned()),
            ..command(&[], EnergyUnit::Watts)
        };
        let bare = |meter: &ExternalMeter| name(meter).rsplit_once(" (").unwrap().0.to_owned();
        assert_eq!(bare(&url("http://me:secret@plug/rpc?key=1#x")), "external http://plug/rpc /apower");
        assert_eq!(bare(&url("http://plug?key=1")), "external http://plug/ /apower");
        let plug = |socket: &str| command(&["/opt/bin/ask-plug", socket], EnergyUnit::Watts);
        assert_eq!(bare(&plug("--token=1")), "external ask-plug");
        // What is not shown tells them apart all the same.
        assert_ne!(name(&plug("--token=1")), name(&plug("--token=2")));
        assert_eq!(name(&plug("--token=1")), name(&plug("--token=1")));
    }

    #[test]
    fn a_program_is_a_meter_that_is_left_alone_for_its_interval() {
        let mut meter = open(&command(&["/bin/echo", "12.5"], EnergyUnit::WattHours)).unwrap();
        let info = meter.about().clone();
        assert_eq!(
            (info.source.starts_with("external echo ("), info.integrated, info.update_ns),
            (true, false, 1_000_000_000)
        );
        assert_eq!(info.quantum_uj, 360_000_000);
        let reading = meter.read().unwrap();
        assert_eq!(reading.total_uj, 0);
        assert!((500_000_000..=1_000_000_000).contains(&meter.due_ns().saturating_sub(reading.at_ns)));
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let error = open(&command(&["/bin/false"], EnergyUnit::Watts)).err().unwrap();
        assert!(error.reason.starts_with("`external false ("), "{error}");
        assert!(error.reason.ends_with("` ended with exit status: 1"), "{error}");
    }
}

//! What the documents of devices say: all of them, one in detail, or its models side by side.

use lab_core::validity::Validity;

use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, numbers, words};
use crate::devices::{DeviceRow, DevicesDocument, Figures, FileRow, ModelRow, Totals};
use crate::quantity::{format_quantity, format_value};

/// Digits of a file's digest that a page shows, as of fingerprints.
const DIGEST_DIGITS: usize = 12;

/// Files that a page shows, and as many sentences about them: a device that is watched for a month has thousands.
const FILES_SHOWN: usize = 50;

/// Lays out what was imported of devices.
pub fn devices(document: &DevicesDocument) -> Page {
    let DevicesDocument { devices, models, files, .. } = document;
    if devices.is_empty() {
        return Page(vec![Block::Lines(vec![Text::plain("no document of a device is imported yet")])]);
    }
    let mut blocks = vec![Block::Grid(summary(devices))];
    if let Some(files) = files {
        blocks.extend(devices.iter().map(|device| Block::Facts(facts(device))));
        let shown = &files[files.len().saturating_sub(FILES_SHOWN)..];
        blocks.push(Block::Grid(of_files(shown)));
        blocks.extend(contradictions(shown));
    }
    if let Some(models) = models {
        blocks.push(Block::Grid(side_by_side(models)));
    }
    blocks.push(Block::Lines(remarks(document)));
    Page(blocks)
}

fn summary(devices: &[DeviceRow]) -> Grid {
    let columns = vec![
        words("device"),
        words("id"),
        numbers("models"),
        numbers("files"),
        numbers("inferences"),
        numbers("mean ms"),
        numbers("min"),
        numbers("max"),
        numbers("energy mJ"),
        words("last"),
        words("suspect"),
    ];
    let row = |device: &DeviceRow| {
        let DeviceRow { files, suspect, totals, .. } = device;
        let time = totals.inference_time_ms.as_ref();
        let cells = vec![
            device.device.clone(),
            or_absent(device.device_id.as_deref()),
            device.models.len().to_string(),
            count(*files),
            count(totals.inferences),
            figure(time, |own| own.mean),
            figure(time, |own| own.min),
            figure(time, |own| own.max),
            figure(totals.energy_consumption_mj.as_ref(), |own| own.sum),
            moment(device.last_timestamp.as_deref()),
            suspects(*suspect),
        ];
        Row { cells, tone: tone(*suspect) }
    };
    Grid { columns, rows: devices.iter().map(row).collect() }
}

/// What the summary has no room for.
fn facts(device: &DeviceRow) -> Vec<(String, Text)> {
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    let Totals { memory_usage_mb, cpu_usage_percent, energy_consumption_mj, loading_time_ms, .. } =
        &device.totals;
    vec![
        fact("device", format!("{} ({})", device.device, or_absent(device.device_id.as_deref()))),
        fact("models", list(&device.models)),
        fact("computed on", list(&device.compute_devices)),
        fact("memory MB", range(memory_usage_mb.as_ref())),
        fact("CPU %", range(cpu_usage_percent.as_ref())),
        fact("energy mJ, as reported", range(energy_consumption_mj.as_ref())),
        fact("loading ms", range(loading_time_ms.as_ref())),
        fact("memory rise MB", range(device.totals.memory_increase_mb.as_ref())),
        fact(
            "from, to",
            format!(
                "{}, {}",
                or_absent(device.first_timestamp.as_deref()),
                or_absent(device.last_timestamp.as_deref())
            ),
        ),
    ]
}

fn of_files(files: &[FileRow]) -> Grid {
    let columns = vec![
        words("file"),
        words("session"),
        words("digest"),
        numbers("inferences"),
        numbers("mean ms"),
        numbers("min"),
        numbers("max"),
        numbers("energy mJ"),
        words("validity"),
    ];
    let row = |file: &FileRow| {
        let time = file.totals.inference_time_ms.as_ref();
        let cells = vec![
            name_of(&file.path).to_owned(),
            file.session.clone(),
            file.sha256.chars().take(DIGEST_DIGITS).collect(),
            count(file.totals.inferences),
            figure(time, |own| own.mean),
            figure(time, |own| own.min),
            figure(time, |own| own.max),
            figure(file.totals.energy_consumption_mj.as_ref(), |own| own.sum),
            file.validity.word().to_owned(),
        ];
        Row { cells, tone: tone(u64::from(file.validity != Validity::Valid)) }
    };
    Grid { columns, rows: files.iter().map(row).collect() }
}

/// Says in what files contradict themselves.
fn contradictions(files: &[FileRow]) -> Option<Block> {
    let lines: Vec<Text> = files
        .iter()
        .flat_map(|file| file.validity.reasons().iter().map(move |reason| (file, reason)))
        .map(|(file, reason)| Text::toned(format!("{}: {reason}", name_of(&file.path)), Tone::Doubtful))
        .take(FILES_SHOWN)
        .collect();
    (!lines.is_empty()).then_some(Block::Lines(lines))
}

fn side_by_side(models: &[ModelRow]) -> Grid {
    let columns = vec![
        words("model"),
        numbers("devices"),
        numbers("files"),
        numbers("inferences"),
        numbers("mean ms"),
        numbers("min"),
        numbers("max"),
        numbers("mean MB"),
        numbers("mean CPU %"),
        numbers("mean mJ"),
        numbers("loading ms"),
        words("suspect"),
    ];
    let row = |model: &ModelRow| {
        let Totals { inferences, memory_usage_mb, cpu_usage_percent, energy_consumption_mj, .. } =
            &model.totals;
        let time = model.totals.inference_time_ms.as_ref();
        let cells = vec![
            or_absent(model.model.as_deref()),
            model.devices.len().to_string(),
            count(model.files),
            count(*inferences),
            figure(time, |own| own.mean),
            figure(time, |own| own.min),
            figure(time, |own| own.max),
            figure(memory_usage_mb.as_ref(), |own| own.mean),
            figure(cpu_usage_percent.as_ref(), |own| own.mean),
            figure(energy_consumption_mj.as_ref(), |own| own.mean),
            figure(model.totals.loading_time_ms.as_ref(), |own| own.mean),
            suspects(model.suspect),
        ];
        Row { cells, tone: tone(model.suspect) }
    };
    Grid { columns, rows: models.iter().map(row).collect() }
}

fn remarks(document: &DevicesDocument) -> Vec<Text> {
    let mut lines = Vec::new();
    if document.models.is_some() {
        lines.push(Text::plain(
            "a description, no verdict: the models need not have had the same work, device or conditions",
        ));
    }
    lines.push(Text::plain(
        "figures are over inferences, each counting alike; energy is what the devices report, and lab measured none of it",
    ));
    if let Some(files) = document.files.as_ref().filter(|files| files.len() > FILES_SHOWN) {
        lines.push(Text::plain(format!(
            "the last {FILES_SHOWN} of {} files; `--format json` has all",
            files.len()
        )));
    }
    let suspect: u64 = document.devices.iter().map(|device| device.suspect).sum();
    if suspect > 0 && document.files.is_none() {
        lines.push(Text::toned(
            format!(
                "files that contradict themselves: {}; `lab devices --device NAME` says in what",
                count(suspect)
            ),
            Tone::Doubtful,
        ));
    }
    lines
}

fn figure(figures: Option<&Figures>, of: fn(&Figures) -> f64) -> String {
    figures.map_or_else(|| ABSENT.to_owned(), |figures| format_quantity(of(figures)))
}

fn range(figures: Option<&Figures>) -> String {
    let Some(Figures { n, min, max, mean, .. }) = figures else { return ABSENT.to_owned() };
    let [mean, min, max] = [mean, min, max].map(|value| format_quantity(*value));
    format!("{mean} ({min} to {max}; n {})", count(*n))
}

#[expect(clippy::cast_precision_loss, reason = "nobody imports 2^53 inferences")]
fn count(n: u64) -> String {
    format_value(n as f64, "inferences")
}

fn suspects(n: u64) -> String {
    if n == 0 { ABSENT.to_owned() } else { count(n) }
}

fn tone(suspect: u64) -> Tone {
    if suspect == 0 { Tone::Plain } else { Tone::Doubtful }
}

/// `2025-10-07T10:30`: a stamp up to minutes; the JSON has all of it.
const MINUTES_DIGITS: usize = 16;

fn moment(stamp: Option<&str>) -> String {
    let minutes = stamp.map(|stamp| stamp.chars().take(MINUTES_DIGITS).collect::<String>());
    minutes.map_or_else(|| ABSENT.to_owned(), |minutes| minutes.replace('T', " "))
}

fn or_absent(text: Option<&str>) -> String {
    text.unwrap_or(ABSENT).to_owned()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { ABSENT.to_owned() } else { names.join(", ") }
}

/// Returns the file's name, without the folders that are the same for all.
fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DEVICES_SCHEMA;
    use crate::table::{Style, render};

    fn totals(mean: f64) -> Totals {
        let figures = Figures { n: 2, min: mean / 2.0, max: mean * 1.5, mean, sum: mean * 2.0 };
        Totals { inferences: 12_345, inference_time_ms: Some(figures), ..Totals::default() }
    }

    fn document() -> DevicesDocument {
        let device = DeviceRow {
            device: "edge-01".to_owned(),
            device_id: Some("00:0f:00:70:91:0a".to_owned()),
            models: vec!["phi".to_owned()],
            compute_devices: vec!["cpu".to_owned()],
            files: 2,
            suspect: 1,
            first_timestamp: None,
            last_timestamp: Some("2025-10-07T10:30:15.123456".to_owned()),
            totals: totals(100.0),
        };
        DevicesDocument { schema: DEVICES_SCHEMA, devices: vec![device], models: None, files: None }
    }

    #[track_caller]
    fn check(document: &DevicesDocument, expected: &[&str]) {
        let text = render(&devices(document), Style { colour: false, width: Some(200) });
        for words in expected {
            assert!(text.contains(words), "{words} in\n{text}");
        }
    }

    #[test]
    fn the_summary_has_a_row_a_device_and_says_who_measured_energy() {
        let row = [
            "edge-01",
            "00:0f:00:70:91:0a",
            "12,345",
            "100.0",
            "50.00",
            "150.0",
            "2025-10-07 10:30 ",
            "suspect",
        ];
        check(&document(), &row);
        check(&document(), &["energy is what the devices report", "files that contradict themselves: 1;"]);
    }

    #[test]
    fn models_side_by_side_are_no_verdict() {
        let model = |name: &str, mean: f64| ModelRow {
            model: Some(name.to_owned()),
            devices: vec!["edge-01".to_owned()],
            compute_devices: vec![],
            files: 1,
            suspect: 0,
            totals: totals(mean),
        };
        let models = Some(vec![model("gemma", 10.0), model("phi", 20.0)]);
        let document = DevicesDocument { models, ..document() };
        check(&document, &["gemma", "phi", "10.00", "20.00", "a description, no verdict"]);
    }

    #[test]
    fn one_device_shows_its_files_and_in_what_they_contradict_themselves() {
        let file = FileRow {
            path: "metrics/edge-01/inference_metrics_a.json".to_owned(),
            sha256: "ab".repeat(32),
            session: "5f0c29d1".to_owned(),
            model: None,
            first_timestamp: None,
            last_timestamp: None,
            validity: Validity::Suspect(vec!["summary: total_inferences is 10, there are 1".to_owned()]),
            totals: totals(3.0),
        };
        let document = DevicesDocument { files: Some(vec![file]), ..document() };
        check(
            &document,
            &["inference_metrics_a.json", "abababababab", "5f0c29d1", "total_inferences is 10, there are 1"],
        );
    }

    #[test]
    fn an_empty_store_says_so() {
        let document = DevicesDocument { devices: vec![], ..document() };
        check(&document, &["no document of a device is imported yet"]);
    }
}

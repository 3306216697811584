//! The files that the sampling thread reads again and again, held open.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use lab_core::observation::Samples;

use crate::conditions::{
    core_times, frequency_file, hottest, parse_frequency_khz, parse_temperature, temperature_files,
};
use crate::{Roots, Unavailable};

/// The longest line of a core in `/proc/stat`: its name and ten counts of up to 20 digits.
const LONGEST_CORE_LINE: usize = 224;

/// The kernel's own bound is 8192 CPUs (Linux `NR_CPUS_RANGE_END`); it bounds the room for their lines.
const GREATEST_CORE: u32 = 8191;

/// What the sampling thread looks at.
pub(crate) struct Gauges {
    cores: Vec<u32>,
    stat: File,
    /// Room for the lines of the cores; the kernel is not asked for more.
    stat_text: Vec<u8>,
    frequencies: Vec<File>,
    temperatures: Vec<File>,
}

impl Gauges {
    /// Opens what there is.
    ///
    /// # Errors
    ///
    /// When the machine does not show what its cores do.
    pub(crate) fn open(roots: &Roots, cores: &[u32]) -> Result<Self, Unavailable> {
        let path = roots.proc.join("stat");
        let stat = File::open(&path).map_err(|error| Unavailable::reading(&path, &error))?;
        let last =
            cores.iter().max().ok_or_else(|| Unavailable::new("no core is named that could be watched"))?;
        let n_lines = (*last).min(GREATEST_CORE) as usize + 2;
        let all_frequencies: Result<Vec<File>, _> =
            cores.iter().map(|core| File::open(frequency_file(roots, *core))).collect();
        let temperatures = temperature_files(roots).iter().filter_map(|file| File::open(file).ok()).collect();
        Ok(Self {
            cores: cores.to_vec(),
            stat,
            stat_text: vec![0; n_lines * LONGEST_CORE_LINE],
            frequencies: all_frequencies.unwrap_or_default(),
            temperatures,
        })
    }

    /// Looks once and adds an entry to each column. A column for which there is no value any more is given up, what it
    /// held included: columns are complete or empty.
    ///
    /// # Errors
    ///
    /// When the machine does not show what the engine's cores do.
    pub(crate) fn look(&mut self, now_ns: u64, samples: &mut Samples) -> Result<(), Unavailable> {
        let (busy, steal) = self.busy_and_steal()?;
        samples.at_ns.push(now_ns);
        samples.busy.push(busy);
        samples.steal.push(steal);
        // Without every one of them the lowest is not known.
        let all: Option<Vec<u64>> =
            self.frequencies.iter().map(|file| parse_frequency_khz(&text(file)?)).collect();
        let lowest = all.and_then(|all| all.into_iter().min());
        add(lowest, &mut samples.frequency_khz, &mut self.frequencies);
        let readings = self.temperatures.iter().filter_map(|file| parse_temperature(&text(file)?));
        add(hottest(readings), &mut samples.temperature_millidegrees, &mut self.temperatures);
        Ok(())
    }

    fn busy_and_steal(&mut self) -> Result<(u64, u64), Unavailable> {
        let read = self.stat.read_at(&mut self.stat_text, 0);
        let unreadable = |error| Unavailable::new(format!("`stat` cannot be read any more: {error}"));
        let length = read.map_err(unreadable)?;
        let text = String::from_utf8_lossy(&self.stat_text[..length]);
        let missing = |core| Unavailable::new(format!("`stat` does not hold a line of core {core}"));
        let times = core_times(&text, &self.cores).map_err(missing)?;
        let sum = times.iter().fold((0_u64, 0_u64), |(busy, steal), time| {
            (busy.saturating_add(time.busy), steal.saturating_add(time.steal))
        });
        Ok(sum)
    }
}

/// Adds a value to its column, or gives the column up.
fn add<T>(value: Option<T>, column: &mut Vec<T>, files: &mut Vec<File>) {
    match value {
        Some(value) => column.push(value),
        None => {
            column.clear();
            files.clear();
        }
    }
}

/// Returns the text of a file of a single number.
fn text(file: &File) -> Option<String> {
    let mut bytes = [0; 32];
    let length = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

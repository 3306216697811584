//! Every inference as CSV (RFC 4180), for spreadsheets and data frames.

use std::io::{self, Write};

use crate::import::device::Inference;

/// The columns: what an inference is known by, then what it says, in the order of the devices' own documents.
pub const COLUMNS: [&str; 11] = [
    "device",
    "sha256",
    "index",
    "timestamp",
    "device_id",
    "model_name",
    "inference_time_ms",
    "memory_used_mb",
    "cpu_percent_avg",
    "energy_consumed_mj",
    "compute_device",
];

/// Writes inferences as they come.
#[derive(Debug)]
pub struct InferencesCsv<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> InferencesCsv<W> {
    /// Begins with the header line.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn new(writer: W) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(writer);
        writer.write_record(COLUMNS)?;
        Ok(Self { writer })
    }

    /// Writes one inference: the name of its device's folder, the digest of its file, its position there. Values are the
    /// shortest decimals that read back as the same number; what was not told is empty.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&mut self, device: &str, sha256: &str, index: u64, inference: &Inference) -> io::Result<()> {
        let [timestamp, device_id, model_name, compute_device] =
            inference.texts().map(Option::unwrap_or_default);
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let [time, memory, cpu, energy] = inference.quantities().map(number);
        let index = index.to_string();
        self.writer.write_record([
            device,
            sha256,
            index.as_str(),
            timestamp,
            device_id,
            model_name,
            time.as_str(),
            memory.as_str(),
            cpu.as_str(),
            energy.as_str(),
            compute_device,
        ])?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

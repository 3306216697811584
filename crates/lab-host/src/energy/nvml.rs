//! NVIDIA accelerators, through the vendor's management library (NVML), which is loaded when it is asked for.
//!
//! Devices are numbered as NVML numbers them, by their place on the PCI bus. CUDA numbers the fastest first unless
//! `CUDA_DEVICE_ORDER=PCI_BUS_ID` is set, and leaves out what `CUDA_VISIBLE_DEVICES` hides; on a machine with unequal
//! devices the name in the source tells whether the right one was read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab_core::energy::EnergyMeter;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::account::Quantity;
use super::meter::{self, Description, Gauge, Meters};
use crate::{Roots, Unavailable};

/// The sensor is read every 20 to 100 ms, by generation, and on some for a quarter of that time only (Z. Yang,
/// K. Adamek, W. Armour, "Part-time Power Measurements: nvidia-smi's Lack of Attention", arXiv:2312.02741); the longest
/// holds here.
const ENERGY_UPDATE: Duration = Duration::from_millis(100);

/// On Ampere and newer, but for GA100, power is the mean of the last second (NVML API reference,
/// `nvmlDeviceGetPowerUsage`): it lags behind by as much.
const POWER_UPDATE: Duration = Duration::from_secs(1);

/// `nvmlDeviceGetTotalEnergyConsumption` counts millijoules, `nvmlDeviceGetPowerUsage` milliwatts (NVML API reference).
const PER_MILLI: u64 = 1000;

/// Opens one meter for one device, or for each.
///
/// # Errors
///
/// When the library or the devices are not there, or refuse.
pub(super) fn open(
    roots: &Roots,
    library: Option<&Path>,
    only: Option<usize>,
) -> Result<Meters, Unavailable> {
    if library.is_none() && !roots.are_this_machine() {
        let sys = roots.sys.display();
        return Err(Unavailable::new(format!(
            "NVML tells of this machine alone, and the roots are those below `{sys}`"
        )));
    }
    let nvml = Arc::new(load(library)?);
    let n_devices = nvml.device_count().map_err(|error| refused("the devices cannot be counted", &error))?;
    let numbers = (0..n_devices).filter(|number| only.is_none_or(|only| u32::try_from(only) == Ok(*number)));
    let through = library.map_or_else(String::new, |library| format!(" through {}", library.display()));
    let meters = numbers.map(|number| open_device(&nvml, number, &through)).collect::<Result<Meters, _>>()?;
    match (meters.is_empty(), only) {
        (false, _) => Ok(meters),
        (true, None) => Err(Unavailable::new("NVML lists no device")),
        (true, Some(only)) => {
            Err(Unavailable::new(format!("NVML lists {n_devices} devices, but no device {only}")))
        }
    }
}

fn load(library: Option<&Path>) -> Result<Nvml, Unavailable> {
    let mut builder = Nvml::builder();
    if let Some(library) = library {
        builder.lib_path(library.as_os_str());
    }
    builder.init().map_err(|error| match error {
        NvmlError::LibloadingError(error) => Unavailable::new(format!(
            "the management library cannot be loaded: {error}; it comes with the NVIDIA driver"
        )),
        error => refused("the management library does not start", &error),
    })
}

fn open_device(nvml: &Arc<Nvml>, number: u32, through: &str) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let what = format!("nvml {number}");
    let refuses = |error: NvmlError| refused(&what, &error);
    let device = nvml.device_by_index(number).map_err(refuses)?;
    let name = device.name().map_err(refuses)?;
    let energy = Description {
        source: format!("{what} {name} energy{through}"),
        quantity: Quantity::RisingEnergy,
        quantum_uj: PER_MILLI,
        update: ENERGY_UPDATE,
    };
    let power = Description {
        source: format!("{what} {name} power{through}"),
        quantity: Quantity::Power,
        quantum_uj: 1,
        update: POWER_UPDATE,
    };
    match device.total_energy_consumption() {
        Ok(_) => meter::measured(&energy, gauge(nvml, number, total_energy_mj)),
        // Before Volta there is no counter (NVML API reference).
        Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => {
            meter::measured(&power, gauge(nvml, number, power_mw))
        }
        Err(error) => Err(refuses(error)),
    }
}

/// Asks a device for thousandths of a joule or of a watt.
type Ask = fn(&Device<'_>) -> Result<u64, NvmlError>;

fn total_energy_mj(device: &Device<'_>) -> Result<u64, NvmlError> {
    device.total_energy_consumption()
}

fn power_mw(device: &Device<'_>) -> Result<u64, NvmlError> {
    device.power_usage().map(u64::from)
}

/// A device borrows its library, so that its handle is asked for anew each time: a look-up in a table.
fn gauge(nvml: &Arc<Nvml>, number: u32, ask: Ask) -> Gauge {
    let nvml = Arc::clone(nvml);
    Box::new(move || {
        let answer = nvml.device_by_index(number).and_then(|device| ask(&device));
        let number_of = |milli: u64| milli.saturating_mul(PER_MILLI);
        answer.map(number_of).map_err(|error| refused(&format!("nvml {number}"), &error))
    })
}

fn refused(what: &str, error: &NvmlError) -> Unavailable {
    let remedy = match error {
        NvmlError::NoPermission => "; run as root, or as one who may open `/dev/nvidiactl`",
        NvmlError::DriverNotLoaded => "; load the driver with `sudo modprobe nvidia`",
        NvmlError::GpuLost => "; it fell off the bus, and only a reboot brings it back",
        _ => "",
    };
    Unavailable::new(format!("{what}: {error}{remedy}"))
}

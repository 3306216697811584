//! What is known of sessions beyond these two, on the scale of an interval of their difference.

use lab_core::report::{Drift, Scale};

use crate::change::size;
use crate::location::Location;
use crate::need::Prospect;
use crate::noise::variance_inflation;

/// How much less sure a difference of two sessions is than their launches alone say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drifting {
    /// How many times as wide the standard error of launches is for the correlation of neighbours.
    widening: f64,
    /// The standard error that sessions add to their difference.
    error: f64,
    /// Degrees of freedom that it is known on.
    freedom: f64,
}

impl Drifting {
    /// Takes what is known on the scale of an interval whose baseline has its middle at `centre`; nothing for unknown drift and
    /// for pairs.
    pub fn new(drift: Drift, scale: Scale, centre: f64) -> Self {
        match drift {
            Drift::Known { standard_deviation, sessions, serial_correlation } => Self {
                widening: variance_inflation(serial_correlation).sqrt(),
                // Each side has a drift of its own. As a share it is that of the logarithm.
                error: standard_deviation * size(scale, centre) * std::f64::consts::SQRT_2,
                freedom: sessions.saturating_sub(1).max(1) as f64,
            },
            Drift::Unknown | Drift::Paired => Self { widening: 1.0, error: 0.0, freedom: 1.0 },
        }
    }

    /// Returns whether sessions differ by more than launches explain.
    fn has_error(self) -> bool {
        self.error > 0.0
    }

    /// Says what keeps a difference from being as sure as its launches alone.
    pub(crate) fn troubles(self) -> impl Iterator<Item = &'static str> {
        let correlate = (self.widening > 1.0).then_some("neighbouring launches correlate");
        correlate.into_iter().chain(self.has_error().then_some("sessions drift"))
    }

    /// Returns a difference of two sessions as sure as it is with all that is known.
    pub fn held_by(self, change: Location) -> Location {
        let change = change.widened(self.widening);
        if self.has_error() { change.with_error(self.error, self.freedom) } else { change }
    }

    /// Returns what an interval would be with other numbers of launches, which vary by `spread` on either side.
    pub(crate) fn prospect(self, centre: f64, spread: [f64; 2]) -> Prospect {
        Prospect {
            centre,
            spread: spread.map(|own| own * self.widening),
            drift: self.error,
            drift_freedom: self.freedom,
        }
    }
}

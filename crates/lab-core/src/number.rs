//! One conversion that measured integers need everywhere.

/// Integers up to 2⁵³ are exact in an `f64`: 104 days in nanoseconds, 9 GJ in microjoules, 9 PB in bytes.
#[expect(clippy::cast_precision_loss, reason = "nothing measured here comes near 2^53")]
pub(crate) fn exact(integer: u64) -> f64 {
    integer as f64
}

//! A test for a trend that assumes no distribution.

/// The Mann-Kendall statistics of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// Pairs that rise minus pairs that fall.
    pub s: i64,
    /// The standard normal deviate of `s`, with the correction for continuity; 0 where nothing varies.
    pub z: f64,
}

/// Tests a series for a monotone trend: Mann (1945), "Nonparametric Tests Against Trend"; Kendall (1975), "Rank
/// Correlation Methods", with his correction of the variance for ties. A negative `z` is a falling trend.
#[expect(clippy::cast_precision_loss, reason = "a series has far fewer than 2^26 values")]
pub fn mann_kendall(series: &[u64]) -> MannKendall {
    let later = |at: usize| series[at + 1..].iter().map(move |value| compare(series[at], *value));
    let s: i64 = (0..series.len()).flat_map(later).sum();
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tied| spread(tied.len() as f64)).sum();
    let variance = (spread(series.len() as f64) - ties) / 18.0;
    let corrected = (s - s.signum()) as f64;
    MannKendall { s, z: if variance > 0.0 { corrected / variance.sqrt() } else { 0.0 } }
}

fn compare(earlier: u64, later: u64) -> i64 {
    match later.cmp(&earlier) {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    }
}

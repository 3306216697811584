//! What a host and an engine vary by when nothing changes: the figures that a calibration takes.
//!
//! ```text
//!   session 1      session 2      session 3            what launches vary by:  inside the groups
//!   · ·· ·  ·       ·· · ·         ·  · ···            what sessions vary by:  between their means, less what launches
//!                                                      of one session explain
//! ```

use lab_core::calibration::Grouped;
use lab_core::report::Drift;

/// Sessions of which a drift is known: from three, an interval at 95 % misses 8.5 % of the time, from five 6 % (docs/comparison.md).
const LEAST_SESSIONS: usize = 5;

/// Returns what sessions differ by, from the launch means of each; unknown for fewer than five sessions.
///
/// The standard deviation is that of logarithms, which is a share of the value.
pub fn drift(sessions: &[Vec<f64>]) -> Drift {
    let logs = |launches: &Vec<f64>| launches.iter().map(|own| own.ln()).collect::<Vec<f64>>();
    let positive = sessions.iter().filter(|launches| launches.iter().all(|own| *own > 0.0));
    components(&positive.map(logs).collect::<Vec<_>>()).map_or(Drift::Unknown, |own| drift_of(&own))
}

/// Returns what sessions differ by, from the components of their launches; unknown for fewer than five sessions.
pub(crate) const fn drift_of(noise: &Grouped) -> Drift {
    match noise.n_groups >= LEAST_SESSIONS {
        true => known(noise),
        false => Drift::Unknown,
    }
}

/// Returns what components say of sessions, however few they are.
pub(crate) const fn known(noise: &Grouped) -> Drift {
    Drift::Known {
        standard_deviation: noise.between,
        sessions: noise.n_groups,
        serial_correlation: noise.serial_correlation,
    }
}

/// Returns the components of the variance of values in groups: the method of moments of a one-way layout (Searle, Casella
/// and McCulloch 1992, "Variance Components", section 3.6), and the correlation of neighbours. Nothing for fewer than two
/// groups of two values.
pub fn components(groups: &[Vec<f64>]) -> Option<Grouped> {
    let groups: Vec<&Vec<f64>> = groups.iter().filter(|group| group.len() > 1).collect();
    let n_groups = groups.len();
    if n_groups < 2 {
        return None;
    }
    let n_values: usize = groups.iter().map(|group| group.len()).sum();
    let squares: f64 = groups.iter().map(|group| squares(group)).sum();
    let within = squares / (n_values - n_groups) as f64;
    let all = groups.iter().flat_map(|group| group.iter()).sum::<f64>() / n_values as f64;
    let among: f64 = groups.iter().map(|group| group.len() as f64 * (mean(group) - all).powi(2)).sum();
    // The mean size of groups that an unequal layout counts as.
    let sizes: f64 = groups.iter().map(|group| (group.len() as f64).powi(2)).sum();
    let size = (n_values as f64 - sizes / n_values as f64) / (n_groups - 1) as f64;
    let serial_correlation = serial_correlation(&groups);
    let of_chance = within * variance_inflation(serial_correlation);
    let between = ((among / (n_groups - 1) as f64 - of_chance) / size).max(0.0);
    Some(Grouped { n_groups, n_values, within: within.sqrt(), between: between.sqrt(), serial_correlation })
}

/// Returns how much greater the variance of a mean is for the correlation of neighbours: (1 + ρ)/(1 − ρ), that of a
/// first-order autoregressive series (Priestley 1981, "Spectral Analysis and Time Series", section 5.3.2). A correlation below 0
/// would make it smaller, and none is known that surely.
///
/// What it makes the means of groups differ by is not what groups differ by: an interval that is widened for the correlation
/// would otherwise pay for it twice.
pub(crate) fn variance_inflation(serial_correlation: f64) -> f64 {
    let rho = serial_correlation.clamp(0.0, 0.9);
    (1.0 + rho) / (1.0 - rho)
}

/// Returns the pooled correlation of neighbours. The usual estimate is too low by 1/n for independent values (Kendall and
/// Stuart 1966, "The Advanced Theory of Statistics", volume 3, section 48.3), and that is added back.
fn serial_correlation(groups: &[&Vec<f64>]) -> f64 {
    let product = |group: &Vec<f64>| {
        let mean = mean(group);
        group.windows(2).map(|two| (two[0] - mean) * (two[1] - mean)).sum::<f64>()
    };
    let whole: f64 = groups.iter().map(|group| squares(group)).sum();
    let n_values: usize = groups.iter().map(|group| group.len()).sum();
    if whole <= 0.0 {
        return 0.0;
    }
    let products: f64 = groups.iter().map(|group| product(group)).sum();
    products / whole + groups.len() as f64 / n_values as f64
}

fn squares(group: &[f64]) -> f64 {
    let mean = mean(group);
    group.iter().map(|value| (value - mean).powi(2)).sum()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    /// Groups of values of which each group shares an offset and each value leans on the one before.
    fn groups(n_groups: usize, size: usize, within: f64, between: f64, correlation: f64) -> Vec<Vec<f64>> {
        let mut draw = Draw::new(3, 0);
        let mut normal = || draw.normal();
        let mut group = || {
            let (shared, mut level) = (between * normal(), normal());
            let mut value = || {
                level = correlation * level + (1.0 - correlation * correlation).sqrt() * normal();
                shared + within * level
            };
            (0..size).map(|_| value()).collect::<Vec<f64>>()
        };
        (0..n_groups).map(|_| group()).collect()
    }

    #[track_caller]
    fn near(found: f64, expected: f64, slack: f64) {
        assert!((found - expected).abs() <= slack, "{found} is not near {expected}");
    }

    #[test]
    fn components_are_found_again() {
        let found = components(&groups(200, 12, 0.02, 0.01, 0.0)).unwrap();
        near(found.within, 0.02, 0.001);
        near(found.between, 0.01, 0.0015);
        near(found.serial_correlation, 0.0, 0.05);
        let found = components(&groups(200, 36, 0.02, 0.0, 0.2)).unwrap();
        near(found.serial_correlation, 0.2, 0.04);
        near(found.between, 0.0, 0.002);
    }

    #[test]
    fn an_unequal_layout_agrees_with_values_worked_out_by_hand() {
        // Means 2, 6, 5 and 4.5 over all.
        let found = components(&[vec![1.0, 3.0], vec![5.0, 7.0], vec![4.0, 5.0, 5.0, 6.0]]).unwrap();
        // Inside: 2 + 2 + 2 over 8 − 3. Among: 2 (2 − 4.5)² + 2 (6 − 4.5)² + 4 (5 − 4.5)² = 18 over 2.
        near(found.within.powi(2), 1.2, 1e-12);
        // Neighbours: −1 − 1 + 0 over 6, and 3/8 added back: 1/24, which inflates by 25/23.
        near(found.serial_correlation, 1.0 / 24.0, 1e-12);
        // Size: (8 − (4 + 4 + 16)/8) / 2 = 2.5; between: (9 − 1.2 · 25/23) / 2.5.
        near(found.between.powi(2), (9.0 - 1.2 * 25.0 / 23.0) / 2.5, 1e-12);
        assert_eq!((found.n_groups, found.n_values), (3, 8));
    }

    #[test]
    fn a_drift_takes_five_sessions_to_be_known() {
        let sessions = [
            [10.0, 10.1, 10.3],
            [11.0, 11.1, 11.2],
            [10.5, 10.4, 10.4],
            [10.0, 10.1, 10.3],
            [11.0, 11.1, 11.2],
        ]
        .map(Vec::from);
        assert_eq!(drift(&sessions[..4]), Drift::Unknown);
        let Drift::Known { standard_deviation, sessions, serial_correlation } = drift(&sessions) else {
            panic!("five will do")
        };
        near(standard_deviation, 0.044, 0.005);
        assert!((0.2..0.4).contains(&serial_correlation), "{serial_correlation}");
        assert_eq!(sessions, 5);
    }

    #[test]
    fn groups_that_differ_by_chance_alone_have_nothing_between_them() {
        let found = components(&[vec![1.0, 3.0], vec![3.0, 1.0]]).unwrap();
        near(found.between, 0.0, 0.0);
        assert_eq!(components(&[vec![1.0, 3.0]]), None);
        assert_eq!(components(&[vec![1.0], vec![2.0]]), None);
    }
}

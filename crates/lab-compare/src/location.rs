//! Where the middle of a few values lies, and how sure that is.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// The fewest values of which the outermost on either side are set aside: with fewer, too little is left to tell a
/// spread from.
const LEAST_TRIMMED: usize = 6;
/// The share of the values that is set aside on either side.
const TRIMMED_SHARE: f64 = 0.15;

/// The middle of some values and its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// The trimmed mean.
    pub centre: f64,
    /// Its standard error; 0 for values that are all the same.
    pub standard_error: f64,
    /// Degrees of freedom of the standard error.
    pub degrees_of_freedom: f64,
}

/// Returns how many of `n` values are set aside on either side.
pub fn n_trimmed(n: usize) -> usize {
    if n < LEAST_TRIMMED {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
    let share = (n as f64 * TRIMMED_SHARE) as usize;
    share.max(1)
}

/// Returns the degrees of freedom of the trimmed mean of `n` values: one less than are left.
pub(crate) fn freedom_of(n: usize) -> f64 {
    (n - 2 * n_trimmed(n) - 1) as f64
}

/// Returns the trimmed mean and its standard error by Tukey and McLaughlin (1963, "Less vulnerable confidence and
/// significance procedures for location based on a single sample", Sankhyā A 25); nothing for fewer than two values.
///
/// As many of the greatest as of the smallest values are set aside, by a rule that looks at their number alone: what
/// lies far out neither decides nor is lost, for the spread counts it at the place of its next neighbour.
/// With fewer than six values nothing is set aside, and this is the mean with its usual standard error.
pub fn location(values: &[f64]) -> Option<Location> {
    location_of(values, n_trimmed(values.len()))
}

/// As [`location`], with the number set aside on either side given.
pub fn location_of(values: &[f64], n_aside: usize) -> Option<Location> {
    let n = values.len();
    if n < 2 * n_aside + 2 {
        return None;
    }
    let mut winsorised = values.to_vec();
    winsorised.sort_by(f64::total_cmp);
    let centre = mean(&winsorised[n_aside..n - n_aside]);
    let (low, high) = (winsorised[n_aside], winsorised[n - n_aside - 1]);
    winsorised[..n_aside].fill(low);
    winsorised[n - n_aside..].fill(high);
    let middle = mean(&winsorised);
    let squares: f64 = winsorised.iter().map(|value| (value - middle).powi(2)).sum();
    let n_left = (n - 2 * n_aside) as f64;
    Some(Location {
        centre,
        standard_error: (squares / (n_left * (n_left - 1.0))).sqrt(),
        degrees_of_freedom: n_left - 1.0,
    })
}

impl Location {
    /// Returns the difference of two independent locations, other minus this, with the degrees of freedom of Welch (1947,
    /// "The generalization of 'Student's' problem when several different population variances are involved", Biometrika
    /// 34), for trimmed means as Yuen (1974, "The two-sample trimmed t for unequal population variances", Biometrika 61).
    pub fn to(self, other: Self) -> Self {
        let [ours, theirs] = [self, other].map(|own| own.standard_error.powi(2));
        let standard_error = (ours + theirs).sqrt();
        let spent = ours.powi(2) / self.degrees_of_freedom + theirs.powi(2) / other.degrees_of_freedom;
        let degrees_of_freedom = match spent > 0.0 {
            true => (ours + theirs).powi(2) / spent,
            false => self.degrees_of_freedom + other.degrees_of_freedom,
        };
        Self { centre: other.centre - self.centre, standard_error, degrees_of_freedom }
    }

    /// Returns the sum of two independent locations, with the degrees of freedom of [`Location::to`].
    pub fn plus(self, other: Self) -> Self {
        Self { centre: self.centre + other.centre, ..self.to(other) }
    }

    /// Returns the same centre with a further, independent error: its standard deviation, and on how many degrees of
    /// freedom that is known (Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance Components",
    /// Biometrics Bulletin 2).
    pub fn with_error(self, standard_deviation: f64, degrees_of_freedom: f64) -> Self {
        let further = Self { centre: 0.0, standard_error: standard_deviation, degrees_of_freedom };
        Self { centre: self.centre, ..self.to(further) }
    }

    /// Returns the same centre with a standard error so many times as wide.
    pub fn widened(self, times: f64) -> Self {
        Self { standard_error: self.standard_error * times, ..self }
    }

    /// Returns the ends of the two-sided interval of Student's t.
    ///
    /// # Panics
    ///
    /// When the confidence does not lie between 0 and 1.
    pub fn interval(self, confidence: f64) -> (f64, f64) {
        let half_width = t_quantile(confidence, self.degrees_of_freedom) * self.standard_error;
        (self.centre - half_width, self.centre + half_width)
    }
}

/// Returns the two-sided quantile of Student's t: the half-width of the interval of a confidence in standard errors.
///
/// # Panics
///
/// When the confidence does not lie between 0 and 1, or the degrees of freedom are not above 0.
pub fn t_quantile(confidence: f64, degrees_of_freedom: f64) -> f64 {
    assert!(confidence > 0.0 && confidence < 1.0, "a confidence lies between 0 and 1");
    StudentsT::new(0.0, 1.0, degrees_of_freedom)
        .expect("degrees of freedom are above 0")
        .inverse_cdf(f64::midpoint(1.0, confidence))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_never_vary_are_known_exactly() {
        let location = location(&[2.0; 7]).unwrap();
        assert_eq!(location.interval(0.95), (2.0, 2.0));
        assert_eq!(location.to(location).interval(0.95), (0.0, 0.0));
    }

    #[test]
    fn one_value_far_out_moves_the_middle_of_ten_by_less_than_their_spread() {
        let mut values: Vec<f64> = (0..10).map(|own| f64::from(own) * 0.002).collect();
        let before = location(&values).unwrap();
        values[0] = -0.5;
        let after = location(&values).unwrap();
        assert!((after.centre - before.centre).abs() < before.standard_error, "{before:?} {after:?}");
        assert_eq!(location(&[1.0]), None);
        assert_eq!(location_of(&[1.0, 2.0, 3.0], 1), None);
    }

    #[test]
    fn a_further_error_widens_an_interval_and_leaves_its_middle() {
        let location = location(&[0.99, 1.0, 1.01, 1.0, 0.99, 1.01]).unwrap();
        let further = location.with_error(0.01, 5.0);
        assert_eq!(further.centre.to_bits(), location.centre.to_bits());
        assert!((further.standard_error.powi(2) - location.standard_error.powi(2) - 1e-4).abs() < 1e-12);
        let widened = location.widened(2.0).standard_error;
        assert!((widened - 2.0 * location.standard_error).abs() < 1e-15);
    }
}

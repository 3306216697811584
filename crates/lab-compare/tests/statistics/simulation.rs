//! Worlds in which pairs of launches are drawn from, and counts with their bounds.

use std::f64::consts::TAU;
use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use statrs::distribution::{Beta, ContinuousCDF as _};

/// A stream of random numbers of its own for each trial.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64, trial: u32) -> Self {
        let mut words = ChaCha8Rng::seed_from_u64(seed);
        words.set_stream(u64::from(trial));
        Self(words)
    }

    /// A number in (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A whole number from 0 to below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.0.next_u64() % n as u64).expect("it is below a usize")
    }

    /// A standard normal number (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// Student's t with so many degrees of freedom, scaled to a variance of 1.
    fn student(&mut self, freedom: u8) -> f64 {
        let squares: f64 = (0..freedom).map(|_| self.normal().powi(2)).sum();
        let freedom = f64::from(freedom);
        self.normal() / (squares / freedom).sqrt() * ((freedom - 2.0) / freedom).sqrt()
    }
}

/// What the pairs of experiments are drawn from.
pub(crate) trait Source {
    /// Returns the log-ratios of the pairs of one experiment on a change, without end.
    fn series<'a>(&'a self, draw: &'a mut Draw, change: f64) -> Box<dyn Iterator<Item = f64> + 'a>;
}

/// What pairs of launches do. All figures are on the scale of log-ratios.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct World {
    /// Standard deviation of a pair.
    pub(crate) spread: f64,
    /// Degrees of freedom of Student's t, for heavy tails; none for normal noise.
    pub(crate) freedom: Option<u8>,
    /// How often a launch of either side takes 1.7 times as long.
    pub(crate) slow: [f64; 2],
    /// Distance of two modes that every launch falls into by chance.
    pub(crate) modes: f64,
    /// How much faster the side is that starts first.
    pub(crate) first: f64,
    /// Correlation of a pair with the one before.
    pub(crate) correlation: f64,
    /// Standard deviation of what all pairs of an experiment share.
    pub(crate) bias: f64,
    /// Standard deviation of what every pair adds to all that follow it.
    pub(crate) drift: f64,
    /// Standard deviation of what every four pairs in a row share.
    pub(crate) clusters: f64,
}

impl Source for World {
    fn series<'a>(&'a self, draw: &'a mut Draw, change: f64) -> Box<dyn Iterator<Item = f64> + 'a> {
        let shared = change.ln_1p() + self.bias * draw.normal();
        let mut level = draw.normal();
        let mut first = 1.0;
        let (mut drifted, mut cluster) = (0.0, 0.0);
        Box::new((0..).map(move |index: u32| {
            first =
                if index.is_multiple_of(2) { if draw.uniform() < 0.5 { 1.0 } else { -1.0 } } else { -first };
            let noise = match self.freedom {
                Some(freedom) => draw.student(freedom),
                None if self.correlation > 0.0 => {
                    level =
                        self.correlation * level + (1.0 - self.correlation.powi(2)).sqrt() * draw.normal();
                    level
                }
                None => draw.normal(),
            };
            let mode =
                |draw: &mut Draw| if self.modes > 0.0 && draw.uniform() < 0.5 { self.modes } else { 0.0 };
            let slow = |draw: &mut Draw, often: f64| {
                if often > 0.0 && draw.uniform() < often { 1.7_f64.ln() } else { 0.0 }
            };
            if self.drift > 0.0 {
                drifted += self.drift * draw.normal();
            }
            if self.clusters > 0.0 && index.is_multiple_of(4) {
                cluster = self.clusters * draw.normal();
            }
            let modes = mode(draw) - mode(draw);
            let slow = slow(draw, self.slow[0]) - slow(draw, self.slow[1]);
            shared + self.spread * noise + modes + slow + first * self.first / 2.0 + drifted + cluster
        }))
    }
}

/// How often something happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) k: u32,
    pub(crate) n: u32,
}

impl Tally {
    /// Returns the one-sided 95 % bounds of the rate (Clopper and Pearson 1934, Biometrika 26).
    pub(crate) fn bounds(self) -> (f64, f64) {
        let (k, n) = (f64::from(self.k), f64::from(self.n));
        let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).expect("counts above 0").inverse_cdf(p);
        let low = if self.k == 0 { 0.0 } else { quantile(k, n - k + 1.0, 0.05) };
        let high = if self.k == self.n { 1.0 } else { quantile(k + 1.0, n - k, 0.95) };
        (low, high)
    }

    /// Returns whether the rate is shown to be at most so much.
    pub(crate) fn is_at_most(self, rate: f64) -> bool {
        self.bounds().1 <= rate
    }

    /// Returns whether the rate is shown to be at least so much.
    pub(crate) fn is_at_least(self, rate: f64) -> bool {
        self.bounds().0 >= rate
    }

    /// Returns whether the count may come from a rate of at most so much: its lower bound does not lie above. For rates that lie
    /// on what is claimed, and that no number of trials could show to be below.
    pub(crate) fn is_compatible_with_at_most(self, rate: f64) -> bool {
        self.bounds().0 <= rate
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, high) = self.bounds();
        write!(f, "{:>6.2} % (≤ {:.2} %)", f64::from(self.k) / f64::from(self.n) * 100.0, high * 100.0)
    }
}

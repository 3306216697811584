//! Every interval and test of this crate against SciPy. The golden file comes from `ci/oracle/statistics.py`, which CI runs
//! again.

use crate::simulation::Tally;
use lab_compare::location::{location_of, t_quantile};
use lab_compare::slow::slow_launches;
use serde_json::Value;

fn golden(section: &str) -> Vec<Value> {
    let document: Value =
        serde_json::from_str(include_str!("../data/scipy.json")).expect("the golden file is JSON");
    document[section].as_array().expect("a section is a list").clone()
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("`{key}` is a number in {case}"))
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a count")).expect("a small count")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|own| own.as_f64().expect("a number")).collect()
}

#[track_caller]
fn agree(found: f64, expected: f64, case: &Value) {
    assert!((found - expected).abs() <= 1e-8 * expected.abs().max(1e-4), "{found} is not {expected}: {case}");
}

#[test]
fn trimmed_means_and_their_intervals_agree_with_scipy() {
    for case in golden("one_sample") {
        let found = location_of(&numbers(&case["values"]), count(&case["aside"])).expect("enough values");
        agree(found.centre, number(&case, "centre"), &case);
        agree(found.standard_error, number(&case, "error"), &case);
        agree(found.degrees_of_freedom, number(&case, "freedom"), &case);
        let (low, high) = found.interval(0.95);
        agree(low, number(&case, "low"), &case);
        agree(high, number(&case, "high"), &case);
    }
}

#[test]
fn differences_of_two_sessions_agree_with_scipys_welch_and_yuen() {
    for case in golden("two_samples") {
        let aside = count(&case["aside"]);
        let of = |key: &str| location_of(&numbers(&case[key]), aside).expect("enough values");
        let change = of("ours").to(of("theirs"));
        agree(change.degrees_of_freedom, number(&case, "freedom"), &case);
        let (low, high) = change.interval(0.95);
        agree(low, number(&case, "low"), &case);
        agree(high, number(&case, "high"), &case);
    }
}

#[test]
fn middles_that_are_less_sure_than_their_values_say_agree_with_scipys_welch() {
    for case in golden("less_sure") {
        let own = location_of(&numbers(&case["values"]), 0).expect("enough values");
        let found = own
            .widened(number(&case, "widening"))
            .with_error(number(&case, "error"), number(&case, "error_freedom"));
        agree(found.degrees_of_freedom, number(&case, "freedom"), &case);
        let (low, high) = found.interval(0.95);
        agree(low, number(&case, "low"), &case);
        agree(high, number(&case, "high"), &case);
    }
}

#[test]
fn quantiles_of_students_t_agree_with_scipy() {
    for case in golden("quantiles") {
        agree(t_quantile(number(&case, "confidence"), number(&case, "freedom")), number(&case, "t"), &case);
    }
}

#[test]
fn the_chance_of_slow_launches_agrees_with_scipys_exact_test() {
    for case in golden("fisher") {
        let times = |side: &str| {
            let [slow, all] = [0, 1].map(|own| count(&case[side][own]));
            (0..all).map(|launch| if launch < slow { 1.7 } else { 1.0 }).collect::<Vec<f64>>()
        };
        let found = slow_launches(&times("ours"), &times("theirs")).expect("some launch is slow");
        agree(found.chance, number(&case, "chance"), &case);
    }
}

#[test]
fn the_bounds_that_rates_are_held_by_agree_with_scipy() {
    for case in golden("clopper_pearson") {
        let [k, n] = ["k", "n"].map(|key| u32::try_from(count(&case[key])).expect("a small count"));
        let (low, high) = Tally { k, n }.bounds();
        agree(low, number(&case, "low"), &case);
        agree(high, number(&case, "high"), &case);
    }
}

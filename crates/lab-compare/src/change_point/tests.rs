use super::*;

/// Levels in percent of the first one, each with how many sessions have it, under a noise of about a percent that looks
/// random and is not.
fn series(levels: &[(f64, usize)]) -> Vec<f64> {
    let levels = levels.iter().flat_map(|(percent, n)| std::iter::repeat_n(*percent, *n));
    let noise = |index: usize| (index * 7_919 % 1_009) as f64 / 1_009.0 - 0.5;
    levels.enumerate().map(|(index, percent)| (percent / 100.0_f64).ln() + 0.02 * noise(index)).collect()
}

const NONE: [usize; 0] = [];

fn indices(logs: &[f64]) -> Vec<usize> {
    change_points(logs).unwrap().iter().map(|point| point.index).collect()
}

#[track_caller]
fn check_close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() <= within, "{actual} is not {expected} ± {within}");
}

#[test]
fn a_step_is_found_where_it_is_with_its_size_and_direction() {
    for (percent, n_before, n_after) in
        [(94.0, 10, 10), (106.0, 10, 10), (94.0, 15, 5), (50.0, 6, 6), (94.0, 30, 4)]
    {
        let points = change_points(&series(&[(100.0, n_before), (percent, n_after)])).unwrap();
        assert_eq!(points.len(), 1, "{percent} after {n_before}: {points:?}");
        assert_eq!(points[0].index, n_before);
        check_close(points[0].change, percent / 100.0 - 1.0, 0.01);
        assert!(points[0].p > 0.0 && points[0].p <= SIGNIFICANCE, "{points:?}");
    }
}

#[test]
fn every_step_of_several_is_found_in_time_order() {
    let logs = series(&[(100.0, 12), (94.0, 12), (99.0, 12), (80.0, 12)]);
    let points = change_points(&logs).unwrap();
    assert_eq!(points.iter().map(|point| point.index).collect::<Vec<_>>(), [12, 24, 36]);
    let rises: Vec<bool> = points.iter().map(|point| point.change > 0.0).collect();
    assert_eq!(rises, [false, true, false]);
    assert!(points.iter().all(|point| point.p <= SIGNIFICANCE));
}

#[test]
fn a_level_that_left_and_came_back_is_two_change_points() {
    assert_eq!(indices(&series(&[(100.0, 12), (94.0, 5), (100.0, 13)])), [12, 17]);
}

#[test]
fn the_fewest_sessions_show_a_clear_step_and_one_less_shows_none() {
    let half = LEAST_SESSIONS / 2;
    assert_eq!(indices(&series(&[(100.0, half), (50.0, LEAST_SESSIONS - half)])), [half]);
    assert_eq!(indices(&series(&[(100.0, half), (50.0, LEAST_SESSIONS - 1 - half)])), NONE);
    assert_eq!(indices(&[]), NONE);
    assert_eq!(indices(&[1.0]), NONE);
}

#[test]
fn equal_values_and_a_single_outlier_are_no_change() {
    assert_eq!(indices(&[4.0; 40]), NONE);
    for outlier in [0, 1, 10, 19] {
        let mut logs = series(&[(100.0, 20)]);
        logs[outlier] += 0.55_f64.ln();
        assert_eq!(indices(&logs), NONE, "an outlier at {outlier}");
    }
}

#[test]
fn an_outlier_does_not_hide_a_step() {
    for outlier in [1, 4, 11, 14] {
        let mut logs = series(&[(100.0, 10), (94.0, 10)]);
        logs[outlier] += 0.55_f64.ln();
        let points = change_points(&logs).unwrap();
        assert_eq!(
            points.iter().map(|point| point.index).collect::<Vec<_>>(),
            [10],
            "an outlier at {outlier}"
        );
        check_close(points[0].change, -0.06, 0.01);
    }
}

#[test]
fn exact_values_show_a_step_although_they_have_no_spread() {
    let logs: Vec<f64> = [[60.0_f64.ln(); 10], [57.0_f64.ln(); 10]].concat();
    let points = change_points(&logs).unwrap();
    assert_eq!(points.len(), 1);
    assert_eq!(points[0].index, 10);
    check_close(points[0].change, -0.05, 1e-12);
}

#[test]
fn many_small_steps_add_up_from_the_first_session_on() {
    let logs: Vec<f64> = (0..60).map(|index| -0.004 * f64::from(index)).collect();
    let points = change_points(&logs).unwrap();
    assert!(!points.is_empty() && points.iter().all(|point| point.change < 0.0), "{points:?}");
    let change = change_since_first(&logs, &points).unwrap();
    let last = points.last().unwrap().index;
    let middle = f64::midpoint(logs[last], logs[59]);
    check_close(change, middle.exp_m1(), 1e-12);
    assert!(change < -0.15, "{change}");
    assert_eq!(change_since_first(&[], &[]), None);
    assert_eq!(change_since_first(&[2.0], &[]), Some(0.0));
}

#[test]
fn the_same_series_gives_the_same_answer_bit_for_bit() {
    let logs = series(&[(100.0, 10), (95.0, 10)]);
    assert_eq!(format!("{:?}", change_points(&logs)), format!("{:?}", change_points(&logs)));
}

#[test]
fn what_is_no_finite_logarithm_is_refused_with_its_position() {
    for value in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
        let error = change_points(&[1.0, 2.0, value]).unwrap_err();
        assert_eq!(error.to_string(), "value 2 of the series is no finite logarithm");
    }
}

#[test]
fn scores_agree_with_scipy() {
    // numpy 2.4.6, scipy 1.17.1:
    // x = np.array([4.31, 4.27, 3.0, 4.30, 4.08, 4.11, 4.07, 4.10])
    // d = np.sort(spatial.distance.pdist(x[:, None]))[5 * 4 // 2 - 1] / (np.sqrt(2) * stats.norm.ppf(5 / 8))
    // z = np.clip(x - np.median(x), -2 * d, 2 * d); print(z - z.mean())
    let scores = scores(&[4.31, 4.27, 3.0, 4.30, 4.08, 4.11, 4.07, 4.10]);
    let expected = [
        0.230_640_778_639_402_24,
        0.190_640_778_639_402_2,
        -0.684_485_450_475_817_8,
        0.220_640_778_639_402_46,
        0.000_640_778_639_402_719_7,
        0.030_640_778_639_402_97,
        -0.009_359_221_360_597_067,
        0.020_640_778_639_402_294,
    ];
    for (score, expected) in scores.into_iter().zip(expected) {
        check_close(score, expected, 1e-12);
    }
}

#[test]
fn statistic_and_p_agree_with_scipy() {
    // numpy 2.4.6, scipy 1.17.1, from z as above, of x = np.array([4.31, 4.27, 4.30, 3.90, 4.08, 4.11, 4.07, 4.10]):
    // P = np.array(list(itertools.permutations(z)))                 all 40,320 orders
    // for stretches in ([(k, 8) for k in range(2, 7)],
    //                   [(a, b) for a in range(2, 7) for b in range(a + 2, 7)]):
    //     inside = lambda a, b: np.isin(np.arange(8), np.arange(a, b))
    //     t = np.array([abs(stats.ttest_ind(P[:, inside(a, b)], P[:, ~inside(a, b)], axis=1).statistic)
    //                   for a, b in stretches])
    //     best = t.max(axis=0)
    //     print(stretches[t[:, 0].argmax()], best[0], (best >= best[0] * (1 - 1e-9)).mean())
    let scores = scores(&[4.31, 4.27, 4.30, 3.90, 4.08, 4.11, 4.07, 4.10]);
    for (shape, start, end, t, p) in [
        (Shape::Split, 3, 8, 4.616_305_615_626_013, 0.035_714_285_714_285_71),
        (Shape::Excursion, 3, 5, 2.185_084_362_170_774_5, 0.371_428_571_428_571_44),
    ] {
        let stretches = shape.stretches(8);
        let (best, statistic) = most_unlike(&scores, &stretches).unwrap();
        assert_eq!((best.start, best.end), (start, end), "{shape:?}");
        check_close(students_t(&scores, statistic), t, 1e-12);
        // Four standard errors of a share of 9,999 drawn orders.
        let within = 4.0 * (p * (1.0 - p) / 9_999.0_f64).sqrt();
        check_close(p_value(&scores, &stretches, statistic, 1.0).unwrap(), p, within);
    }
}

/// Returns Student's two-sample t of a stretch against the rest, from its statistic and the total sum of squares.
fn students_t(scores: &[f64], statistic: f64) -> f64 {
    let total: f64 = scores.iter().map(|score| score * score).sum();
    statistic / ((total - statistic * statistic) / (scores.len() - 2) as f64).sqrt()
}

#[test]
fn so_many_sessions_after_a_step_show_it_as_the_documentation_says() {
    for (n, n_after) in [(11, 5), (12, 4), (15, 3)] {
        let logs = series(&[(100.0, n - n_after), (50.0, n_after)]);
        assert_eq!(indices(&logs), [n - n_after], "{n_after} of {n}");
        let logs = series(&[(100.0, n - n_after), (50.0, n_after - 1)]);
        assert_eq!(indices(&logs), NONE, "{} of {}", n_after - 1, n - 1);
    }
}

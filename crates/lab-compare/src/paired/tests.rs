use super::*;

fn arm(index: u64) -> Arm {
    if index.is_multiple_of(2) { Arm::Off } else { Arm::On }
}

/// Blocks of 3 to 5 tokens under noise of some per cent and a drift; on takes 4 µs longer a token.
fn series(n_blocks: u64) -> Vec<Block> {
    let block = |index: u64| {
        let on_ns = if arm(index) == Arm::On { 4_000 } else { 0 };
        let token_ns = 1_000_000 + (index * 7_919 % 1_009) * 37 + index * 50 + on_ns;
        let tokens = 3 + index % 3;
        Block { arm: arm(index), tokens: u32::try_from(tokens).unwrap(), time_ns: tokens * token_ns }
    };
    (0..n_blocks).map(block).collect()
}

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 1e-12 * expected.abs()
}

#[test]
fn the_quantile_agrees_with_scipy() {
    // python -c "from scipy import stats; print([stats.t.ppf(0.975, df) for df in (9, 12, 19)])"; scipy 1.17.1
    for (degrees_of_freedom, expected) in
        [(9, 2.262_157_162_798_205), (12, 2.178_812_829_667_228_4), (19, 2.093_024_054_408_308_7)]
    {
        let quantile = t_quantile(degrees_of_freedom);
        assert!((quantile - expected).abs() < 1e-9, "{degrees_of_freedom}: {quantile} not {expected}");
    }
}

#[test]
fn the_interval_agrees_with_numpy_and_scipy() {
    // numpy 2.4.6, scipy 1.17.1:
    // for n in (81, 110, 161, 402):
    //     i = np.arange(n)
    //     tokens = 3 + i % 3
    //     x = tokens * (1_000_000 + (i * 7919 % 1009) * 37 + i * 50 + (i % 2) * 4000) / tokens
    //     k = (n - 1) // 2
    //     on, off = x[1::2][:k], (x[0::2][:k] + x[2::2][:k]) / 2
    //     B = min(max(k // 4, 10), 20)
    //     R = on.sum() / off.sum()
    //     d = (on - R * off) / off.mean()
    //     e = [b * k // B for b in range(B + 1)]
    //     m = [d[a:c].mean() for a, c in zip(e, e[1:])]
    //     h = stats.t.ppf(0.975, B - 1) * stats.sem(m)
    //     print(n, k, B, R, R - h, R + h)
    for (n, n_pairs, n_batches, ratio, low, high) in [
        (81, 40, 10, 1.004_376_687_381_441_3, 1.000_768_574_671_891_7, 1.007_984_800_090_990_8),
        (110, 54, 13, 1.004_253_811_903_826_7, 1.001_000_659_930_363_8, 1.007_506_963_877_289_6),
        (161, 80, 20, 1.004_139_438_614_722, 1.001_590_769_019_838_7, 1.006_688_108_209_605_3),
        (402, 200, 20, 1.003_979_196_964_658_8, 1.003_126_978_563_409, 1.004_831_415_365_908_6),
    ] {
        let effect = paired_effect(&series(n)).unwrap();
        assert_eq!((effect.n_pairs, effect.n_batches), (n_pairs, n_batches));
        assert_eq!(effect.n_blocks as u64, n);
        assert!(
            close(effect.ratio, ratio) && close(effect.low, low) && close(effect.high, high),
            "{effect:?}"
        );
    }
}

#[test]
fn a_linear_drift_alone_is_no_effect() {
    let drift = |index: u64| Block { arm: arm(index), tokens: 1, time_ns: 1_000_000 + 1_000 * index };
    let effect = paired_effect(&(0..81).map(drift).collect::<Vec<_>>()).unwrap();
    for ratio in [effect.ratio, effect.low, effect.high] {
        assert!((ratio - 1.0).abs() < 1e-12, "{effect:?}");
    }
}

#[test]
fn a_few_slow_tokens_of_on_move_the_ratio_by_what_they_cost() {
    // One on block in ten takes twice as long: 10 % in the mean, nothing in the median.
    let block = |index: u64| Block {
        arm: arm(index),
        tokens: 4,
        time_ns: if index % 20 == 1 { 8_000_000 } else { 4_000_000 },
    };
    let effect = paired_effect(&(0..401).map(block).collect::<Vec<_>>()).unwrap();
    assert!((effect.ratio - 1.1).abs() < 1e-12, "{effect:?}");
}

#[test]
fn a_series_may_begin_with_on_and_the_ratio_keeps_its_direction() {
    let blocks = series(163);
    let effect = paired_effect(&blocks[1..]).unwrap();
    assert_eq!(effect.n_pairs, 80);
    assert!(effect.ratio > 1.0, "{effect:?}");
}

#[test]
fn a_disturbed_block_takes_its_comparisons_along_and_moves_nothing() {
    let quiet = |index: u64| Block { arm: arm(index), tokens: 4, time_ns: 4_000_000 };
    let mut blocks: Vec<Block> = (0..401).map(quiet).collect();
    let mut is_disturbed = [false; 401];
    // An on block is part of one comparison, an off block of two, and the two at the end of one.
    for (block, _) in [(51, "on"), (100, "off"), (400, "the last")] {
        blocks[block].time_ns *= 10;
        is_disturbed[block] = true;
    }
    assert!((paired_effect(&blocks).unwrap().ratio - 1.0).abs() > 0.01);
    let effect = undisturbed_effect(&blocks, &is_disturbed).unwrap();
    assert_eq!((effect.n_blocks, effect.n_pairs), (401, 200 - 4));
    assert!((effect.ratio - 1.0).abs() < 1e-12, "{effect:?}");
}

#[test]
fn a_slow_block_that_nobody_disturbed_counts() {
    let mut blocks = series(401);
    blocks[51].time_ns *= 10;
    assert_eq!(undisturbed_effect(&blocks, &[false; 401]), paired_effect(&blocks));
}

#[test]
fn too_much_disturbance_carries_no_estimate() {
    let blocks = series(401);
    let disturbed =
        |n: usize| -> Vec<bool> { (0..401).map(|block| block % 2 == 1 && block < 2 * n).collect() };
    assert_eq!(undisturbed_effect(&blocks, &disturbed(100)).unwrap().n_pairs, 100);
    let error = undisturbed_effect(&blocks, &disturbed(101)).unwrap_err();
    assert_eq!(error, PairedError::Disturbed { n_left: 99, n_pairs: 200 });
    assert_eq!(
        error.to_string(),
        "others used the machine in so many blocks that 99 of 200 comparisons are left"
    );
    let fewest = series(81);
    let error = undisturbed_effect(&fewest, &disturbed(1)[..81]).unwrap_err();
    assert_eq!(error, PairedError::Disturbed { n_left: 39, n_pairs: 40 }, "fewer than are judged");
    assert!(matches!(undisturbed_effect(&series(80), &[]), Err(PairedError::TooFew { .. })));
}

#[track_caller]
fn check_refusal(blocks: &[Block], expected: &str) {
    assert_eq!(paired_effect(blocks).unwrap_err().to_string(), expected);
}

#[test]
fn blocks_that_carry_no_estimate_say_why() {
    check_refusal(
        &series(80),
        "80 blocks give 39 comparisons of an on block with two off neighbours; 40 are needed, which is 81 blocks that \
         begin with off",
    );
    check_refusal(
        &[],
        "0 blocks give 0 comparisons of an on block with two off neighbours; 40 are needed, which is 81 blocks that \
         begin with off",
    );
    let mut blocks = series(81);
    blocks.remove(7);
    check_refusal(&blocks, "blocks 6 and 7 are of the same arm; off and on must alternate");
    let mut blocks = series(81);
    blocks[5].tokens = 0;
    let time_ns = blocks[5].time_ns;
    check_refusal(&blocks, &format!("block 5 has 0 tokens in {time_ns} ns, which is no time per token"));
    blocks[5] = Block { tokens: 4, time_ns: 0, ..blocks[5] };
    check_refusal(&blocks, "block 5 has 4 tokens in 0 ns, which is no time per token");
}

fn effect(ratio: f64, half_width: f64) -> PairedEffect {
    let (low, high) = (ratio - half_width, ratio + half_width);
    PairedEffect { ratio, low, high, n_blocks: 201, n_pairs: 100, n_batches: 20 }
}

#[test]
fn an_effect_is_equivalent_when_its_whole_interval_is_inside_the_margin() {
    for (ratio, half_width, expected) in [
        (1.0, 0.009, true),
        (1.005, 0.004, true),
        (0.995, 0.004, true),
        (1.005, 0.006, false),
        (0.995, 0.006, false),
        (1.02, 0.001, false),
        (1.0, f64::NAN, false),
    ] {
        assert_eq!(is_equivalent(&effect(ratio, half_width), 0.01), expected, "{ratio} ± {half_width}");
    }
    // Open at its ends: an interval that touches the margin is not inside.
    assert!(!is_equivalent(&effect(1.0, 0.25), 0.25));
}

#[test]
fn the_blocks_that_would_decide_follow_from_the_width() {
    // Twice too wide takes four times as many.
    assert_eq!(blocks_needed(&effect(1.0, 0.5), 0.25), Some(4 * 201));
    assert_eq!(blocks_needed(&effect(1.0, 0.01), 0.25), Some(LEAST_BLOCKS));
    assert_eq!(blocks_needed(&effect(1.25, 0.5), 0.25), None);
    assert_eq!(blocks_needed(&effect(1.5, 0.5), 0.25), None);
    assert_eq!(blocks_needed(&effect(1.0, f64::NAN), 0.25), None);
}

use super::*;
use crate::command::RowsSource;
use crate::workload::{Sampling, Stop};

fn plan(generate: u32, repeat: u32) -> PartRecord {
    forced_plan(generate, repeat, None)
}

fn forced_plan(generate: u32, repeat: u32, forced: Option<Digest>) -> PartRecord {
    let prompt = Digest::of(b"prompt");
    PlanPart {
        prompt,
        prompt_tokens: 4,
        forced,
        generate,
        sampling: Sampling::Greedy,
        stop: Stop::Length,
        isolation: Isolation::Launch,
        warmup: 1,
        sample_hz: 10.0,
        mode: Mode::Alone,
        name: "p".to_owned(),
        repeat,
    }
    .record()
}

#[test]
fn context_does_not_reach_the_digest_and_identity_does() {
    assert_eq!(plan(8, 5).digest(), plan(8, 10).digest());
    assert_ne!(plan(8, 5).digest(), plan(9, 5).digest());
    assert!(part_differences(&plan(8, 5), &plan(8, 10)).is_empty());
}

#[test]
fn a_difference_names_part_field_and_both_values() {
    let differences = part_differences(&plan(8, 5), &plan(9, 5));
    let expected = Difference {
        part: PartKind::Plan,
        field: "generate".to_owned(),
        baseline: Some(8.into()),
        candidate: Some(9.into()),
    };
    assert_eq!(differences, [expected]);
}

#[test]
fn a_field_one_side_lacks_or_neither_knows_is_a_difference() {
    let (mut left, mut right) = (plan(8, 5), plan(8, 5));
    left.identity.insert("added_later".to_owned(), 1.into());
    assert_eq!(part_differences(&left, &right)[0].candidate, None);
    right.identity.insert("added_later".to_owned(), 1.into());
    assert!(part_differences(&left, &right).is_empty());
    left.identity.insert("unknown".to_owned(), Value::Null);
    right.identity.insert("unknown".to_owned(), Value::Null);
    assert_eq!(part_differences(&left, &right)[0].field, "unknown");
}

#[test]
fn what_is_forced_is_identity_and_leaves_no_trace_where_nothing_is() {
    let (free, forced) = (plan(8, 5), forced_plan(8, 5, Some(Digest::of(b"forced"))));
    assert!(!free.identity.contains_key("forced"));
    assert_ne!(free.digest(), forced.digest());
    assert_ne!(forced.digest(), forced_plan(8, 5, Some(Digest::of(b"other"))).digest());
    let differences = part_differences(&free, &forced);
    let fields: Vec<&str> = differences.iter().map(|own| own.field.as_str()).collect();
    assert_eq!((fields, differences[0].is_unknown()), (vec!["forced"], false));
    assert!(part_differences(&forced, &forced).is_empty());
}

fn command(rows: RowsSource, rows_digest: Option<Digest>, repeat: u32) -> PartRecord {
    let program = vec!["wc".to_owned(), "rows.csv".to_owned()];
    let (warmup, interval_us, name) = (0, 100_000, "count".to_owned());
    CommandPlanPart { program, rows, rows_digest, warmup, interval_us, name, repeat }.record().of_command()
}

#[test]
fn the_rows_of_a_command_are_identity_and_the_file_that_was_counted_too() {
    let file = |digest| command(RowsSource::File("rows.csv".to_owned()), digest, 3);
    let counted = file(Some(Digest::of(b"a\n1\n")));
    assert_eq!(counted.domain, "lab.fingerprint.command.plan.v1");
    assert_eq!(counted.identity["rows"], serde_json::json!({"file": "rows.csv"}));
    assert!(part_differences(&counted, &counted).is_empty());
    assert_ne!(counted.digest(), file(Some(Digest::of(b"a\n2\n"))).digest());
    let given = |repeat| command(RowsSource::Given(1), None, repeat);
    assert!(!given(3).identity.contains_key("rows_digest"));
    assert_eq!(given(3).digest(), given(30).digest());
    assert_ne!(given(3).digest(), command(RowsSource::Reported, None, 3).digest());
}

#[test]
fn a_part_of_a_command_differs_from_one_of_an_engine_whatever_its_fields() {
    let (engine, command) = (plan(8, 5), plan(8, 5).of_command());
    assert_ne!(engine.digest(), command.digest());
    assert_eq!(part_differences(&engine, &command)[0].field, "domain");
}

#[test]
fn another_version_of_the_field_set_is_a_difference() {
    let mut newer = plan(8, 5);
    newer.domain = "lab.fingerprint.plan.v999".to_owned();
    assert_eq!(part_differences(&plan(8, 5), &newer)[0].field, "domain");
}

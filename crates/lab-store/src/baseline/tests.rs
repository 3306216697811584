//! Names, what they stand for, and what is refused.

use super::*;
use crate::fixture::{Scratch, id, record, scratch, session};

fn name(text: &str) -> BaselineName {
    text.parse().unwrap()
}

/// So many seconds after the beginning of 1970.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A store with sessions 1 and 2.
fn two_sessions() -> Scratch {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    record(&mut scratch.store, &session(2));
    scratch
}

#[test]
fn names_have_only_the_permitted_characters() {
    let longest = "x".repeat(LONGEST);
    for text in ["main", "a", "0", "release/1.4", "x86_64-linux", "..", "/", "_-", "the-latest", &longest] {
        assert_eq!(name(text).as_str(), text);
    }
    let too_long = "x".repeat(LONGEST + 1);
    let characters = "the name of a baseline has only the characters a-z, 0-9 and `.`, `_`, `/`, `-`";
    for (text, sentence) in [
        ("", "the name of a baseline has at least one character".to_owned()),
        ("@main", "the name of a baseline does not begin with `@`, as `@main` does".to_owned()),
        ("-x", "the name of a baseline does not begin with `-`, as `-x` does".to_owned()),
        ("maiN", format!("character 4 of `maiN` is `N`; {characters}")),
        ("a b", format!("character 2 of `a b` is ` `; {characters}")),
        ("main~1", format!("character 5 of `main~1` is `~`; {characters}")),
        ("größe", format!("character 3 of `größe` is `ö`; {characters}")),
        ("a\n", format!("character 2 of `a\\n` is `\\n`; {characters}")),
        ("latest", "`latest` begins with `latest`, which is kept for the newest session".to_owned()),
        ("latest-1", "`latest-1` begins with `latest`, which is kept for the newest session".to_owned()),
        (&too_long, "the name of a baseline has at most 64 characters, and this one has 65".to_owned()),
    ] {
        assert_eq!(text.parse::<BaselineName>().unwrap_err().to_string(), sentence, "{text:?}");
    }
}

#[test]
fn the_newest_row_of_a_name_holds_and_the_others_are_its_history() {
    let mut scratch = two_sessions();
    let store = &mut scratch.store;
    store.set_baseline(&name("main"), Some(&id(1)), at(10), None).unwrap();
    store.set_baseline(&name("main"), Some(&id(2)), at(20), Some("with\n\"quotes\"")).unwrap();
    let held = Baseline {
        name: name("main"),
        session: id(2),
        set_at: at(20),
        note: Some("with\n\"quotes\"".to_owned()),
    };
    assert_eq!(store.baseline("main").unwrap(), Some(held.clone()));
    assert_eq!(store.resolve("@main").unwrap(), id(2));
    store.set_baseline(&name("main"), None, at(30), None).unwrap();
    assert_eq!(store.baseline("main").unwrap(), None);
    assert!(store.resolve("@main").is_err());
    let change = |session, seconds, note| BaselineChange { session, set_at: at(seconds), note };
    let mut history =
        vec![change(None, 30, None), change(Some(id(2)), 20, held.note), change(Some(id(1)), 10, None)];
    assert_eq!(store.baseline_history("main").unwrap(), history);
    store.set_baseline(&name("main"), Some(&id(1)), at(5), None).unwrap();
    // What holds is told by the order of the rows, never by a clock that somebody turned back.
    history.insert(0, change(Some(id(1)), 5, None));
    assert_eq!(store.baseline_history("main").unwrap(), history);
    assert_eq!(store.baseline("main").unwrap().unwrap().session, id(1));
    assert!(scratch.store.verify(None).unwrap().is_sound());
}

#[test]
fn names_that_hold_are_listed_in_their_order() {
    let mut scratch = two_sessions();
    for (seconds, text, session) in [(1, "weekly", 1), (2, "main", 2), (3, "old", 1), (4, "main", 1)] {
        let session = id(session);
        scratch.store.set_baseline(&name(text), Some(&session), at(seconds), None).unwrap();
    }
    scratch.store.set_baseline(&name("old"), None, at(5), None).unwrap();
    let reopened = Store::open_read_only(&scratch.path).unwrap();
    let listed: Vec<(String, SessionId)> =
        reopened.baselines().unwrap().into_iter().map(|own| (own.name.to_string(), own.session)).collect();
    assert_eq!(listed, [("main".to_owned(), id(1)), ("weekly".to_owned(), id(1))]);
}

#[track_caller]
fn check_refused(
    scratch: &mut Scratch,
    sentence: &str,
    change: impl FnOnce(&mut Store) -> Result<(), StoreError>,
) {
    let before = scratch.store.head().unwrap();
    assert_eq!(change(&mut scratch.store).unwrap_err().to_string(), sentence);
    assert_eq!(scratch.store.head().unwrap(), before);
}

#[test]
fn a_name_is_not_set_to_an_unknown_session_and_not_removed_twice() {
    let mut scratch = two_sessions();
    let remove =
        |text: &'static str| move |store: &mut Store| store.set_baseline(&name(text), None, at(1), None);
    check_refused(&mut scratch, &format!("the store holds no session {}", id(3)), |store| {
        store.set_baseline(&name("main"), Some(&id(3)), at(1), None)
    });
    check_refused(&mut scratch, "no baseline is called `main`; none is set", remove("main"));
    scratch.store.set_baseline(&name("main"), Some(&id(1)), at(1), None).unwrap();
    scratch.store.set_baseline(&name("weekly"), Some(&id(1)), at(1), None).unwrap();
    check_refused(&mut scratch, "no baseline is called `mian`; nearest: `main`", remove("mian"));
    check_refused(&mut scratch, "no baseline is called `x`; known are `main`, `weekly`", remove("x"));
    scratch.store.set_baseline(&name("main"), None, at(1), None).unwrap();
    check_refused(&mut scratch, "no baseline is called `main`; known are `weekly`", remove("main"));
}

#[test]
fn the_history_of_a_name_that_was_never_set_is_refused_with_the_nearest() {
    let mut scratch = two_sessions();
    scratch.store.set_baseline(&name("release/1.4"), Some(&id(1)), at(1), None).unwrap();
    let error = scratch.store.baseline_history("release/1.5").unwrap_err().to_string();
    assert_eq!(error, "no baseline is called `release/1.5`; nearest: `release/1.4`");
}

#[test]
fn a_time_that_does_not_fit_is_refused() {
    let mut scratch = two_sessions();
    let sentence = "the baseline `main` cannot be recorded exactly: 9999-12-30T22:00:00Z lies outside the years 1678 \
                    to 2261";
    let late = "9999-12-30T22:00:00Z".parse().unwrap();
    check_refused(&mut scratch, sentence, |store| {
        store.set_baseline(&name("main"), Some(&id(1)), late, None)
    });
}

#[test]
fn a_store_opened_for_reading_takes_no_baseline() {
    let mut scratch = two_sessions();
    scratch.store = Store::open_read_only(&scratch.path).unwrap();
    let sentence = format!(
        "nothing can be recorded into the store `{}`: it was opened for reading",
        scratch.path.display()
    );
    check_refused(&mut scratch, &sentence, |store| {
        store.set_baseline(&name("main"), Some(&id(1)), at(1), None)
    });
}

#[test]
fn a_damaged_row_is_named_and_keeps_nobody_from_the_sessions() {
    let mut scratch = two_sessions();
    scratch.store.set_baseline(&name("main"), Some(&id(1)), at(1), None).unwrap();
    scratch
        .raw()
        .execute_batch("DROP TRIGGER baseline_is_never_updated; UPDATE baseline SET body = 'x'")
        .unwrap();
    for error in [
        scratch.store.baselines().unwrap_err().to_string(),
        scratch.store.resolve("@main").unwrap_err().to_string(),
    ] {
        assert!(error.starts_with("the stored row `baseline:1` cannot be read: "), "{error}");
    }
    assert_eq!(scratch.store.resolve("@latest").unwrap(), id(2));
}

#[test]
fn the_nearest_name_is_told_by_the_rule_of_all_names() {
    let known = [name("ab"), name("release/2026-01-02")];
    for (typed, expected) in [("release", Some("release/2026-01-02")), ("xb", None)] {
        let found = nearest(typed, &known);
        assert_eq!(found.as_ref().map(BaselineName::as_str), expected, "{typed}");
        assert_eq!(lab_core::nearest::nearest(typed, known.iter().map(BaselineName::as_str)), expected);
    }
}

#[test]
fn many_names_are_offered_on_one_line() {
    let names: Vec<BaselineName> = (0..11).map(|n| name(&format!("n{n}"))).collect();
    assert_eq!(offer(None, &names), "known are `n0`, `n1`, `n2`, `n3`, `n4`, `n5`, `n6`, `n7`, and 3 more");
}

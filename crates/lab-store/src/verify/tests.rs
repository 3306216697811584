//! Tampering, with the triggers out of the way, and whether it is found.

use lab_core::metric::{Measurement, Reading};
use rusqlite::Connection;

use super::*;
use crate::chain::{BASELINE, CALIBRATION, RECORDED, Recorded, genesis, last_link, next_head};
use crate::fixture::{
    Scratch, archive_all, id, name_and_calibrate, record, record_import, record_unfinished, scratch, session,
};
use crate::migrate::apply_missing;

/// A store with two sessions, a baseline and a calibration, and no trigger left to protect it.
fn unprotected() -> Scratch {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    record(&mut scratch.store, &session(2));
    name_and_calibrate(&mut scratch.store, id(1));
    drop_triggers(&scratch);
    scratch
}

/// The same with an imported file besides, whose bytes have left.
fn unprotected_with_archive() -> Scratch {
    let mut scratch = unprotected();
    record_import(&mut scratch.store, 3);
    archive_all(&mut scratch, "archive.sqlite");
    scratch
}

fn drop_triggers(scratch: &Scratch) {
    let raw = scratch.raw();
    for trigger in triggers(&raw) {
        raw.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
}

fn triggers(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Tampers, puts the triggers back so that the schema gives nothing away, and returns what is found.
fn findings_after(tamper: &str) -> Vec<Finding> {
    let scratch = unprotected();
    let raw = scratch.raw();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    raw.execute_batch(tamper).unwrap();
    restore_triggers(&raw);
    scratch.store.verify(None).unwrap().findings
}

fn restore_triggers(raw: &Connection) {
    let reference = Connection::open_in_memory().unwrap();
    apply_missing(&reference).unwrap();
    let mut statement = reference.prepare("SELECT sql FROM sqlite_master WHERE type = 'trigger'").unwrap();
    for sql in statement.query_map([], |row| row.get::<_, String>(0)).unwrap() {
        raw.execute_batch(&sql.unwrap()).unwrap();
    }
}

fn row_changed(subject: String) -> Finding {
    Finding::RowChanged { subject }
}

#[test]
fn an_untouched_store_is_sound() {
    let mut scratch = scratch();
    let empty = scratch.store.verify(Some(&genesis())).unwrap();
    assert!(empty.is_sound() && empty.head == genesis() && empty.rows == 0);
    record(&mut scratch.store, &session(1));
    let passed = scratch.store.head().unwrap();
    record_unfinished(&mut scratch.store, &session(2));
    for expected in [genesis(), passed, scratch.store.head().unwrap()] {
        let verification = scratch.store.verify(Some(&expected)).unwrap();
        assert_eq!(verification.findings, []);
        assert_eq!(verification.head, scratch.store.head().unwrap());
        // Per session: itself, 3 launches, 5 repetitions, 2 of them with all metrics; 5 parts and 1 further plan.
        let metrics = 2 * lab_core::metric::METRICS.len() as u64;
        assert_eq!(verification.rows, 2 * (1 + 3 + 5 + metrics) + 1 + 6);
        assert_eq!((verification.links, verification.rederived), (verification.rows, 2 * metrics));
        assert!(verification.unknown_metrics.is_empty());
    }
    let reader = Store::open_read_only(&scratch.path).unwrap();
    assert!(reader.verify(None).unwrap().is_sound());
}

#[test]
fn a_changed_value_is_found_by_the_chain_and_by_derivation() {
    let metric = "engine.v0.1/tokens_per_sec";
    let findings = findings_after(&format!(
        "UPDATE measurement SET value = value * 1.0000000001
         WHERE session = '{}' AND repetition = 1 AND metric = '{metric}'",
        id(1)
    ));
    assert_eq!(findings[0], row_changed(format!("measurement:{}:1:{metric}", id(1))));
    let Finding::NotRederived { repetition: 1, metric: found, .. } = &findings[1] else {
        panic!("{findings:?}");
    };
    assert_eq!((found.as_str(), findings.len()), (metric, 2));
}

#[test]
fn a_value_made_unavailable_is_found() {
    let findings = findings_after(
        "UPDATE measurement SET value = NULL, unavailable = 'lost' WHERE metric = 'engine.v0.1/latency_p95_ms'",
    );
    let not_rederived = findings.iter().filter(|finding| matches!(finding, Finding::NotRederived { .. }));
    assert_eq!((not_rederived.count(), findings.len()), (4, 8), "{findings:?}");
}

#[test]
fn a_changed_timeline_byte_is_found() {
    let findings = findings_after(&format!(
        "UPDATE repetition SET timeline = CAST(X'01' || substr(timeline, 2) AS BLOB)
         WHERE session = '{}' AND idx = 1",
        id(2)
    ));
    assert_eq!(findings[0], row_changed(format!("repetition:{}:1", id(2))));
    assert!(matches!(findings[1], Finding::NotRederived { .. }), "{findings:?}");
}

#[test]
fn a_damaged_timeline_does_not_hide_the_other_sessions() {
    let findings = findings_after(&format!(
        "UPDATE repetition SET timeline = X'80' WHERE session = '{}' AND idx = 1;
         UPDATE measurement SET value = 1 WHERE session = '{}' AND metric = 'lab.v1/load_ms'",
        id(2),
        id(1)
    ));
    assert!(findings.iter().any(|finding| matches!(finding, Finding::Unchecked { .. })), "{findings:?}");
    assert!(findings.iter().any(|finding| matches!(finding, Finding::NotRederived { .. })), "{findings:?}");
}

#[test]
fn a_changed_header_is_found() {
    let findings = findings_after(&format!("UPDATE session SET plan_name = 'x' WHERE id = '{}'", id(1)));
    let subject = format!("session:{}", id(1));
    let expected = [row_changed(subject.clone()), Finding::ColumnMismatch { subject, column: "plan_name" }];
    assert_eq!(findings, expected);
}

#[test]
fn a_changed_outcome_or_validity_is_found_by_the_body_too() {
    let columns_of = |tamper: &str| -> Vec<Finding> {
        let findings = findings_after(&format!(
            "PRAGMA ignore_check_constraints = ON;
             UPDATE repetition SET {tamper} WHERE session = '{}' AND idx = 1",
            id(1)
        ));
        findings.into_iter().filter(|finding| matches!(finding, Finding::ColumnMismatch { .. })).collect()
    };
    let mismatch = |column| Finding::ColumnMismatch { subject: format!("repetition:{}:1", id(1)), column };
    assert_eq!(columns_of("outcome = 'failed'"), [mismatch("outcome")]);
    assert_eq!(columns_of("validity = 'invalid'"), [mismatch("validity")]);
    assert_eq!(columns_of("validity = NULL"), [mismatch("validity")]);
    assert_eq!(columns_of("validity = 'valid'"), []);
}

#[test]
fn every_column_of_every_row_is_covered() {
    for table in RECORDED.map(|recorded| recorded.table) {
        for column in columns(table) {
            // A store of its own: what was changed in another column would be found in its stead.
            let scratch = unprotected_with_archive();
            let raw = scratch.raw();
            raw.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
            // One more character, one more number, one byte less: another value of the same type.
            let changed = raw
                .execute(
                    &format!(
                        "UPDATE {table} SET {column} = CASE typeof({column})
                            WHEN 'text' THEN {column} || ' ' WHEN 'blob' THEN X'05' ELSE {column} + 1 END
                         WHERE {column} = (SELECT max({column}) FROM {table})"
                    ),
                    [],
                )
                .unwrap();
            assert!(changed > 0, "{table}.{column}");
            let findings = scratch.store.verify(None).unwrap().findings;
            let is_about_rows = |finding: &Finding| {
                matches!(finding, Finding::RowChanged { .. } | Finding::RowWithoutLink { .. })
            };
            assert!(findings.iter().any(is_about_rows), "{table}.{column}: {findings:?}");
        }
    }
}

/// Returns the names of a table's columns.
fn columns(table: &str) -> Vec<String> {
    let scratch = scratch();
    let mut statement = scratch.store.connection().prepare("SELECT name FROM pragma_table_info(?)").unwrap();
    statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_changed_part_is_found_by_its_own_digest_too() {
    let findings = findings_after("UPDATE part SET identity = '{}' WHERE kind = 'hardware'");
    assert!(
        matches!(&findings[..], [Finding::RowChanged { .. }, Finding::PartMismatch { .. }]),
        "{findings:?}"
    );
}

#[test]
fn a_changed_link_is_found() {
    let zeros = "0".repeat(64);
    for (column, expected) in [
        ("digest", vec![row_changed(format!("launch:{}:0", id(1))), Finding::HeadMismatch { seq: 7 }]),
        ("previous", vec![Finding::ChainBroken { seq: 7 }, Finding::HeadMismatch { seq: 7 }]),
        ("head", vec![Finding::HeadMismatch { seq: 7 }, Finding::ChainBroken { seq: 8 }]),
    ] {
        let findings = findings_after(&format!("UPDATE chain SET {column} = '{zeros}' WHERE seq = 7"));
        assert_eq!(findings.len(), expected.len(), "{column}: {findings:?}");
        assert!(expected.iter().all(|finding| findings.contains(finding)), "{column}: {findings:?}");
    }
}

#[test]
fn a_deleted_link_is_found() {
    let findings = findings_after("DELETE FROM chain WHERE seq = 7");
    let expected = [
        Finding::ChainGap { after: 6, found: 8 },
        Finding::ChainBroken { seq: 8 },
        Finding::RowWithoutLink { subject: format!("launch:{}:0", id(1)) },
    ];
    assert_eq!(findings, expected);
}

#[test]
fn a_deleted_row_is_found() {
    let findings = findings_after(&format!("DELETE FROM repetition WHERE session = '{}' AND idx = 4", id(1)));
    let [Finding::LinkWithoutRow { subject, .. }] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(*subject, format!("repetition:{}:4", id(1)));
}

#[test]
fn a_row_smuggled_in_is_found() {
    let findings = findings_after(&format!(
        "INSERT INTO repetition SELECT session, 9, launch, kind, outcome, validity, body, timeline
         FROM repetition WHERE session = '{}' AND idx = 1",
        id(1)
    ));
    assert_eq!(findings, [Finding::RowWithoutLink { subject: format!("repetition:{}:9", id(1)) }]);
}

#[test]
fn baselines_and_calibrations_that_were_changed_added_or_removed_are_found() {
    let changed = |subject: &str| vec![row_changed(subject.to_owned())];
    let added = |subject: &str| vec![Finding::RowWithoutLink { subject: subject.to_owned() }];
    let calibration = format!("calibration:{}", id(1));
    for (tamper, expected) in [
        (format!("UPDATE baseline SET session = '{}' WHERE seq = 2", id(2)), changed("baseline:2")),
        ("UPDATE baseline SET session = NULL WHERE seq = 1".to_owned(), changed("baseline:1")),
        ("UPDATE baseline SET name = 'weekly' WHERE seq = 2".to_owned(), changed("baseline:2")),
        ("UPDATE calibration SET body = '{}'".to_owned(), changed(&calibration)),
        (format!("INSERT INTO baseline VALUES (4, 'main', '{}', 0, '{{}}')", id(2)), added("baseline:4")),
        (
            format!(
                "INSERT INTO calibration SELECT '{}', made_at, fingerprint, kind, body FROM calibration",
                id(2)
            ),
            added(&format!("calibration:{}", id(2))),
        ),
    ] {
        assert_eq!(findings_after(&tamper), expected, "{tamper}");
    }
    for (tamper, subject) in [
        ("DELETE FROM baseline WHERE seq = 3", "baseline:3"),
        ("DELETE FROM calibration", calibration.as_str()),
    ] {
        let findings = findings_after(tamper);
        let [Finding::LinkWithoutRow { subject: gone, .. }] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(gone, subject);
    }
}

/// Records a row that nobody can read, link and all, and returns what is found.
fn findings_with_unreadable(recorded: &Recorded, key: &str, insert: &str) -> Vec<Finding> {
    let mut scratch = unprotected();
    restore_triggers(&scratch.raw());
    let append = |connection: &Connection| -> Result<(), Failure> {
        connection.execute_batch(insert)?;
        Ok(recorded.link(connection, &[&key])?)
    };
    scratch.store.append("recording", append).unwrap();
    scratch.store.verify(None).unwrap().findings
}

#[test]
fn a_baseline_or_calibration_that_cannot_be_read_is_found_though_its_digest_agrees() {
    let baseline = "INSERT INTO baseline VALUES (4, 'main', NULL, 0, 'no JSON')";
    let of_baseline = findings_with_unreadable(&BASELINE, "4", baseline);
    let id = id(2).to_string();
    let calibration =
        format!("INSERT INTO calibration SELECT '{id}', 0, fingerprint, kind, 'no JSON' FROM calibration");
    let of_calibration = findings_with_unreadable(&CALIBRATION, &id, &calibration);
    for (findings, subject) in
        [(of_baseline, "baseline:4".to_owned()), (of_calibration, format!("calibration:{id}"))]
    {
        let [Finding::Unchecked { message, .. }] = &findings[..] else { panic!("{findings:?}") };
        assert!(message.starts_with(&format!("the stored row `{subject}` cannot be read")), "{message}");
    }
}

#[test]
fn a_second_row_of_the_same_name_is_found() {
    let findings = findings_after(
        "CREATE TABLE copy AS SELECT * FROM session_end; DROP TABLE session_end;
         CREATE TABLE session_end (session TEXT, ended_at INTEGER, status TEXT);
         INSERT INTO session_end SELECT session, ended_at + 1, status FROM copy;
         INSERT INTO session_end SELECT * FROM copy; DROP TABLE copy;",
    );
    for n in [1, 2] {
        let expected = Finding::RowWithoutLink { subject: format!("session_end:{}", id(n)) };
        assert!(findings.contains(&expected), "{findings:?}");
    }
    assert!(!findings.iter().any(|finding| matches!(finding, Finding::RowChanged { .. })), "{findings:?}");
}

#[test]
fn two_swapped_rows_are_found() {
    let session = id(1);
    let renumber = |from: u32, to: u32| {
        format!("UPDATE repetition SET idx = {to} WHERE session = '{session}' AND idx = {from};")
    };
    let findings = findings_after(&[renumber(0, 99), renumber(2, 0), renumber(99, 2)].concat());
    let expected = [0, 2].map(|index| row_changed(format!("repetition:{session}:{index}")));
    assert_eq!(findings, expected);
}

#[test]
fn two_swapped_links_are_found() {
    let findings = findings_after(
        "UPDATE chain SET seq = 999 WHERE seq = 7; UPDATE chain SET seq = 7 WHERE seq = 8;
         UPDATE chain SET seq = 8 WHERE seq = 999;",
    );
    let expected = [7, 8, 9].map(|seq| Finding::ChainBroken { seq });
    assert_eq!(findings, expected);
}

#[test]
fn a_row_linked_twice_is_found() {
    let scratch = unprotected();
    let raw = scratch.raw();
    let (seq, head) = last_link(&raw).unwrap();
    let (subject, digest): (String, String) = raw
        .query_row("SELECT subject, digest FROM chain WHERE seq = 7", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let next = next_head(&head, &subject, &digest.parse().unwrap());
    raw.execute(
        "INSERT INTO chain VALUES (?, ?, ?, ?, ?)",
        (seq + 1, &subject, digest, head.to_string(), next.to_string()),
    )
    .unwrap();
    restore_triggers(&raw);
    let findings = scratch.store.verify(None).unwrap().findings;
    assert_eq!(findings, [Finding::LinkedTwice { seq: seq + 1, subject }]);
}

#[test]
fn a_session_cut_off_the_end_is_found_only_by_the_head_kept_elsewhere() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    let earlier = scratch.store.head().unwrap();
    record(&mut scratch.store, &session(2));
    let kept = scratch.store.head().unwrap();
    let raw = scratch.raw();
    for trigger in triggers(&raw) {
        raw.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    let last = id(2);
    raw.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF;
         DELETE FROM part WHERE digest = (SELECT plan_part FROM session WHERE id = '{last}');
         DELETE FROM measurement WHERE session = '{last}';
         DELETE FROM repetition WHERE session = '{last}';
         DELETE FROM launch WHERE session = '{last}';
         DELETE FROM session_end WHERE session = '{last}';
         DELETE FROM session WHERE id = '{last}';
         DELETE FROM chain WHERE seq > (SELECT seq FROM chain WHERE head = '{earlier}');"
    ))
    .unwrap();
    restore_triggers(&raw);
    assert!(scratch.store.verify(None).unwrap().is_sound());
    assert!(scratch.store.verify(Some(&earlier)).unwrap().is_sound());
    let findings = scratch.store.verify(Some(&kept)).unwrap().findings;
    assert_eq!(findings, [Finding::HeadUnknown { expected: kept }]);
}

#[test]
fn dropped_and_weakened_triggers_are_found() {
    let scratch = unprotected();
    let raw = scratch.raw();
    raw.execute_batch(
        "CREATE TRIGGER part_is_never_updated BEFORE UPDATE ON part BEGIN SELECT 1; END;
         CREATE VIEW extra AS SELECT 1;",
    )
    .unwrap();
    let findings = scratch.store.verify(None).unwrap().findings;
    let trigger = |name: &str| ("trigger".to_owned(), name.to_owned());
    let (kind, name) = trigger("part_is_never_updated");
    assert!(findings.contains(&Finding::SchemaChanged { kind, name }), "{findings:?}");
    let (kind, name) = trigger("chain_is_never_deleted");
    assert!(findings.contains(&Finding::SchemaMissing { kind, name }), "{findings:?}");
    let (kind, name) = ("view".to_owned(), "extra".to_owned());
    assert!(findings.contains(&Finding::SchemaForeign { kind, name }), "{findings:?}");
}

#[test]
fn a_dropped_table_is_found_and_hides_nothing_else() {
    let findings = findings_after(
        "DROP TABLE session_end; CREATE TABLE session_end (x); UPDATE part SET domain = 'x' WHERE kind = 'model';",
    );
    for expected in
        ["the table `session_end` is not as lab creates it", "is not what was recorded", "is gone"]
    {
        assert!(
            findings.iter().any(|finding| finding.to_string().contains(expected)),
            "{expected}: {findings:?}"
        );
    }
}

#[test]
fn a_broken_reference_is_found() {
    let findings = findings_after(&format!("DELETE FROM launch WHERE session = '{}' AND idx = 2", id(1)));
    let expected = Finding::BrokenReference { table: "repetition".to_owned(), parent: "launch".to_owned() };
    assert!(findings.contains(&expected), "{findings:?}");
}

#[test]
fn an_overwritten_page_is_found() {
    let mut scratch = scratch();
    for n in 0..20 {
        record(&mut scratch.store, &session(n));
    }
    let path = scratch.path.clone();
    scratch.store = Store::open(&path.with_file_name("other.sqlite")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0x55;
    }
    std::fs::write(&path, bytes).unwrap();
    let findings = Store::open_existing(&path).unwrap().verify(None).unwrap().findings;
    assert!(!findings.is_empty());
}

#[test]
fn a_metric_of_another_lab_is_named_and_not_judged() {
    let mut scratch = scratch();
    let mut session = session(1);
    let measurement = Measurement { metric: "future.v9/x".to_owned(), reading: Reading::Value(1.0) };
    session.repetitions[1].measurements.push(measurement);
    record(&mut scratch.store, &session);
    assert_eq!(scratch.store.load(&id(1)).unwrap(), session);
    let verification = scratch.store.verify(None).unwrap();
    assert!(verification.is_sound());
    assert_eq!(verification.unknown_metrics.into_iter().collect::<Vec<_>>(), ["future.v9/x"]);
}

#[test]
fn a_number_published_wrong_from_the_start_is_found() {
    let mut scratch = scratch();
    let mut session = session(1);
    session.repetitions[1].measurements[1].reading = Reading::Value(1e6);
    record(&mut scratch.store, &session);
    let findings = scratch.store.verify(None).unwrap().findings;
    let sentence = findings[0].to_string();
    let expected = format!(
        "`engine.v0.1/tokens_per_sec` of repetition 1 of session {} was published as 1000000, and its raw data give ",
        id(1)
    );
    assert!(sentence.starts_with(&expected) && findings.len() == 1, "{findings:?}");
}

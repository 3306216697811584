//! Families: sessions that measured the same in the same way, and may differ in the engine alone.

use std::collections::BTreeMap;

use lab_core::digest::Digest;
use lab_core::record::SessionId;

use crate::error::{Failure, StoreError};
use crate::open::Store;
use crate::query::parse_id;

/// Sessions whose model, plan, backend and hardware parts are equal. Which engine they measured, and what their plan was
/// called, may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Digest over the digests of the four parts.
    pub digest: Digest,
    /// Its sessions, oldest first; at least one. Sides of paired experiments are none of them, nor sessions in which a loss was
    /// planted.
    pub sessions: Vec<SessionId>,
}

/// A name may have belonged to several plans, and a plan may have had several names: the names find families, and a
/// family has all its sessions.
const SESSIONS: &str = "
    WITH named AS (
        SELECT DISTINCT model_part, plan_part, backend_part, hardware_part FROM session WHERE plan_name = ?1
    )
    SELECT id, model_part, plan_part, backend_part, hardware_part
    FROM session JOIN named USING (model_part, plan_part, backend_part, hardware_part)
    JOIN part ON part.digest = engine_part
    WHERE json_extract(body, '$.experiment') IS NULL
    AND json_extract(part.identity, '$.settings.delay') IS NULL
    ORDER BY started_at, id";

/// Sides A of experiments whose two sides differ in the engine and in nothing else, and in which no loss was planted.
const EXPERIMENTS: &str = "
    SELECT a.id, a.model_part, a.plan_part, a.backend_part, a.hardware_part
    FROM session a
    JOIN session b USING (model_part, plan_part, backend_part, hardware_part)
    JOIN part ON part.digest = b.engine_part
    WHERE a.plan_name = ?1
    AND json_extract(a.body, '$.experiment.side') = 'a'
    AND b.id = json_extract(a.body, '$.experiment.other')
    AND a.engine_part <> b.engine_part
    AND json_extract(part.identity, '$.settings.delay') IS NULL
    ORDER BY a.started_at, a.id";

impl Store {
    /// Returns the families that some session of a plan of this name belongs to, the one with the newest session first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn families(&self, plan_name: &str) -> Result<Vec<Family>, StoreError> {
        self.families_of(SESSIONS, plan_name)
    }

    /// Returns the families in which plans of this name were measured in paired experiments, the one with the newest first; their
    /// sessions are the sides A. Experiments whose sides are equal or differ in more than the engine are none of them, nor those
    /// in which a loss was planted.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn experiments(&self, plan_name: &str) -> Result<Vec<Family>, StoreError> {
        self.families_of(EXPERIMENTS, plan_name)
    }

    fn families_of(&self, select: &str, plan_name: &str) -> Result<Vec<Family>, StoreError> {
        let families = || -> Result<Vec<Family>, Failure> {
            let mut statement = self.connection().prepare_cached(select)?;
            let rows = statement.query_and_then([plan_name], |row| -> Result<_, Failure> {
                let parts: [String; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
                Ok((parts, parse_id(&row.get::<_, String>(0)?)?))
            })?;
            let mut by_parts: BTreeMap<[String; 4], (usize, Vec<SessionId>)> = BTreeMap::new();
            for (position, row) in rows.enumerate() {
                let (parts, id) = row?;
                let (newest, sessions) = by_parts.entry(parts).or_default();
                *newest = position;
                sessions.push(id);
            }
            Ok(newest_first(by_parts))
        };
        families()
            .map_err(|failure| failure.into_store_error(self.path(), "looking for the sessions of a plan"))
    }

    /// Returns the names of all plans that sessions were recorded of, in alphabetical order.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn plan_names(&self) -> Result<Vec<String>, StoreError> {
        let names = || -> Result<Vec<String>, Failure> {
            let mut statement = self
                .connection()
                .prepare_cached("SELECT DISTINCT plan_name FROM session ORDER BY plan_name")?;
            let names = statement.query_and_then([], |row| Ok(row.get(0)?))?;
            names.collect()
        };
        names().map_err(|failure| failure.into_store_error(self.path(), "listing the plans"))
    }
}

fn newest_first(by_parts: BTreeMap<[String; 4], (usize, Vec<SessionId>)>) -> Vec<Family> {
    let mut families: Vec<(usize, Family)> = by_parts
        .into_iter()
        .map(|(parts, (newest, sessions))| {
            (newest, Family { digest: Digest::of_canonical("lab.family.v1", &parts), sessions })
        })
        .collect();
    families.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
    families.into_iter().map(|(_, family)| family).collect()
}

#[cfg(test)]
mod tests {
    use lab_core::experiment::{Experiment, Side};
    use lab_core::fixtures;
    use lab_core::record::SessionHeader;

    use super::*;
    use crate::fixture::{Scratch, header, id, scratch};

    /// The header of session `n`, of the plan that session 1 has.
    fn sibling(n: u32) -> SessionHeader {
        let own = header(n);
        let SessionHeader { plan_name, fingerprint, work, .. } = header(1);
        SessionHeader { plan_name, fingerprint, work, ..own }
    }

    fn record(headers: &[SessionHeader]) -> Scratch {
        let mut scratch = scratch();
        headers.iter().for_each(|header| scratch.store.begin_session(header).unwrap());
        scratch
    }

    fn sessions(scratch: &Scratch, plan: &str) -> Vec<Vec<SessionId>> {
        scratch.store.families(plan).unwrap().into_iter().map(|family| family.sessions).collect()
    }

    #[test]
    fn a_family_has_its_sessions_oldest_first_whatever_their_engine_and_name() {
        let mut other_engine = sibling(2);
        other_engine.fingerprint.engine.identity.insert("version".to_owned(), "0.2.0".into());
        let renamed = SessionHeader { plan_name: "renamed".to_owned(), ..sibling(3) };
        let scratch = record(&[renamed, other_engine, sibling(1), header(9)]);
        assert_eq!(sessions(&scratch, "plan-1"), [[id(1), id(2), id(3)]]);
        assert_eq!(scratch.store.families("renamed").unwrap(), scratch.store.families("plan-1").unwrap());
        assert_eq!(sessions(&scratch, "plan-9"), [[id(9)]]);
        assert_eq!(sessions(&scratch, "none"), Vec::<Vec<SessionId>>::new());
        assert_eq!(scratch.store.plan_names().unwrap(), ["plan-1", "plan-9", "renamed"]);
    }

    #[test]
    fn another_machine_is_another_family_and_the_newest_comes_first() {
        let mut elsewhere = sibling(3);
        elsewhere.fingerprint.hardware.identity.insert("cpu_model".to_owned(), "Example CPU 9001".into());
        let scratch = record(&[sibling(1), sibling(2), elsewhere]);
        assert_eq!(sessions(&scratch, "plan-1"), [vec![id(3)], vec![id(1), id(2)]]);
        let families = scratch.store.families("plan-1").unwrap();
        assert_ne!(families[0].digest, families[1].digest);
    }

    #[test]
    fn a_session_in_which_a_loss_was_planted_belongs_to_no_family() {
        let mut slower = sibling(2);
        let settings = serde_json::json!({ "delay": "uniform:0.06" });
        slower.fingerprint.engine.identity.insert("settings".to_owned(), settings);
        let mut other = sibling(3);
        let settings = serde_json::json!({ "threads": "4" });
        other.fingerprint.engine.identity.insert("settings".to_owned(), settings);
        let scratch = record(&[sibling(1), slower, other]);
        assert_eq!(sessions(&scratch, "plan-1"), [[id(1), id(3)]]);
    }

    #[test]
    fn experiments_are_found_by_their_sides_where_the_engine_and_nothing_else_differs_and_no_loss_was_planted()
     {
        let sides = |n: u32, edit: &dyn Fn(&mut SessionHeader)| {
            let [mut a, mut b] = [sibling(n), sibling(n + 1)];
            edit(&mut b);
            let (ours, theirs) = (a.id, b.id);
            a.experiment = Some(Experiment { other: theirs, ..fixtures::experiment(Side::A) });
            b.experiment = Some(Experiment { other: ours, ..fixtures::experiment(Side::B) });
            [a, b]
        };
        let engine = |key: &'static str, value: serde_json::Value| {
            move |own: &mut SessionHeader| {
                own.fingerprint.engine.identity.insert(key.to_owned(), value.clone());
            }
        };
        let newer = sides(2, &engine("version", "0.2.0".into()));
        let equal = sides(8, &|_| ());
        let planted = sides(4, &engine("settings", serde_json::json!({ "delay": "uniform:0.06" })));
        let elsewhere = sides(6, &|own| {
            own.fingerprint.hardware.identity.insert("cpu_model".to_owned(), "Example CPU 9001".into());
        });
        let headers: Vec<SessionHeader> = [newer, planted, elsewhere, equal].into_iter().flatten().collect();
        let scratch = record(&[&[sibling(1)], headers.as_slice()].concat());
        let found = scratch.store.experiments("plan-1").unwrap();
        assert_eq!(found.iter().map(|own| own.sessions.as_slice()).collect::<Vec<_>>(), [[id(2)]]);
        assert_eq!(scratch.store.experiments("none").unwrap(), []);
    }

    #[test]
    fn the_sides_of_a_paired_experiment_belong_to_no_family() {
        let side = SessionHeader { experiment: Some(fixtures::experiment(Side::A)), ..sibling(2) };
        let scratch = record(&[sibling(1), side]);
        assert_eq!(sessions(&scratch, "plan-1"), [[id(1)]]);
    }
}

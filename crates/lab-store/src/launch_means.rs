//! What launches measured, over all sessions of one fingerprint: what history knows of how far sessions differ.

use lab_core::digest::Digest;
use lab_core::record::SessionId;

use crate::error::{Failure, StoreError};
use crate::open::Store;

/// Sides of paired experiments ran beside another engine, and are no sessions of their own.
const LAUNCH_MEANS: &str = "
    SELECT session.id, avg(measurement.value)
    FROM session
    JOIN measurement ON measurement.session = session.id AND measurement.metric = ?2
    JOIN repetition ON repetition.session = session.id AND repetition.idx = measurement.repetition
    WHERE session.fingerprint = ?1 AND (?3 IS NULL OR session.id < ?3) AND measurement.value IS NOT NULL AND repetition.validity <> 'invalid'
        AND json_extract(session.body, '$.experiment') IS NULL
    GROUP BY session.id, repetition.launch
    ORDER BY session.started_at, session.id, repetition.launch";

impl Store {
    /// Returns the mean of a metric in every launch of every session of a fingerprint, session by session, oldest first; only
    /// of sessions older than a given one, if one is given. Invalid repetitions are not counted.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn launch_means(
        &self,
        fingerprint: &Digest,
        metric: &str,
        older_than: Option<SessionId>,
    ) -> Result<Vec<Vec<f64>>, StoreError> {
        let read = || -> Result<Vec<Vec<f64>>, Failure> {
            let mut statement = self.connection().prepare_cached(LAUNCH_MEANS)?;
            let older_than = older_than.map(|id| id.to_string());
            let rows = statement.query_and_then((fingerprint.to_string(), metric, older_than), |row| {
                Ok::<(String, f64), Failure>((row.get(0)?, row.get(1)?))
            })?;
            let mut sessions: Vec<(String, Vec<f64>)> = Vec::new();
            for row in rows {
                let (session, mean) = row?;
                match sessions.last_mut() {
                    Some((last, means)) if *last == session => means.push(mean),
                    _ => sessions.push((session, vec![mean])),
                }
            }
            Ok(sessions.into_iter().map(|(_, means)| means).collect())
        };
        read().map_err(|failure| failure.into_store_error(self.path(), "reading what launches measured"))
    }
}

#[cfg(test)]
mod tests {
    use lab_core::fixtures;
    use lab_core::record::Session;

    use super::*;

    fn record(store: &mut Store, session: &Session) {
        let id = session.header.id;
        store.begin_session(&session.header).unwrap();
        for launch in &session.launches {
            store.append_launch(id, launch).unwrap();
        }
        for recorded in &session.repetitions {
            store.append_repetition(id, &recorded.repetition, &recorded.measurements).unwrap();
        }
    }

    #[test]
    fn launches_of_all_sessions_of_a_fingerprint_are_found_session_by_session() {
        const TTFT: &str = "lab.v1/ttft_ms";
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("lab.sqlite")).unwrap();
        let (one, two) = (fixtures::session(1, &[20_000, 30_000]), fixtures::session(2, &[20_000, 20_000]));
        record(&mut store, &one);
        record(&mut store, &two);
        let mut other = fixtures::session(3, &[20_000]);
        other.header.fingerprint.engine.identity.insert("version".to_owned(), "9".into());
        record(&mut store, &other);
        let means = |metric: &str, older_than: Option<SessionId>| {
            store.launch_means(&one.fingerprint_digest(), metric, older_than).unwrap()
        };
        assert_eq!(means(TTFT, None), [[60.0, 60.0], [60.0, 60.0]]);
        assert_eq!(means(TTFT, Some(two.header.id)), [[60.0, 60.0]], "what came later is not looked at");
        let speeds = means("engine.v0.1/tokens_per_sec", None);
        assert!(speeds[0][0] > speeds[0][1], "{speeds:?}");
        assert_eq!(means("no.such/metric", None), Vec::<Vec<f64>>::new());
    }
}

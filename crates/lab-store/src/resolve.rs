//! What a user types, to a session id.
//!
//! | typed | means |
//! |---|---|
//! | `019a7c40-…` | the session with this id |
//! | `5f0c29d1` | the session whose id ends so, as listings show it |
//! | four digits or more | the only session whose id begins or ends so |
//! | `@latest` | the newest session |
//! | `@latest~2` | the one two before the newest |
//! | `@main` | the session that the baseline `main` stands for |
//!
//! Ids begin with their time, and so neighbours begin alike; they end at random. That is why an end is as good as a
//! beginning here, and why the end is what listings show.

use lab_core::record::SessionId;
use uuid::Uuid;

use crate::baseline::{Baseline, BaselineName, RESERVED, held, nearest, quote};
use crate::error::{Failure, StoreError};
use crate::open::Store;
use crate::query::{SHORT_ID, ids};

/// Why a text names no session.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The store is empty.
    #[error("`{text}` names no session: the store holds none")]
    NoSessions {
        /// What was typed.
        text: String,
    },
    /// Nothing matches.
    #[error("no session matches `{text}`; {}: {}", hint(*alike), join(nearest))]
    Unknown {
        /// What was typed.
        text: String,
        /// Whether the sessions below look like what was typed; otherwise they are the newest.
        alike: bool,
        /// Up to three sessions.
        nearest: Vec<SessionId>,
    },
    /// Several match.
    #[error("`{text}` matches {} sessions: {}", matches.len(), join(matches))]
    Ambiguous {
        /// What was typed.
        text: String,
        /// All that match, newest first.
        matches: Vec<SessionId>,
    },
    /// Too few digits to mean one session on purpose.
    #[error("`{text}` is too short for an id: type at least {FEWEST} digits of its beginning or its end")]
    TooShort {
        /// What was typed.
        text: String,
    },
    /// A `@` word that is neither `@latest` nor a baseline.
    #[error("`{text}` is no name of a session; {}", offer(nearest.as_ref(), known))]
    UnknownName {
        /// What was typed.
        text: String,
        /// The baseline whose name looks most like it, if one does.
        nearest: Option<BaselineName>,
        /// Every baseline that it could have named.
        known: Vec<BaselineName>,
    },
    /// `@latest~N` reaches back beyond the first session.
    #[error("`{text}` reaches back beyond the first session: the store holds {n}, so N is at most {}", n - 1)]
    BeyondFirst {
        /// What was typed.
        text: String,
        /// How many sessions there are.
        n: usize,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Digits below which a match would be luck and not intent.
const FEWEST: usize = 4;

/// How many sessions an error offers.
const OFFERED: usize = 3;

const fn hint(alike: bool) -> &'static str {
    if alike { "nearest" } else { "the newest" }
}

/// Words what is offered in the place of an unknown name.
fn offer(nearest: Option<&BaselineName>, known: &[BaselineName]) -> String {
    match (nearest, known) {
        (Some(name), _) => format!("nearest: `@{name}`"),
        (None, []) => "known are `@latest` and `@latest~N`".to_owned(),
        (None, known) => format!("known are `@latest`, `@latest~N`, {}", quote(known, "@")),
    }
}

fn join(sessions: &[SessionId]) -> String {
    /// An error is one line; a listing shows the rest.
    const SHOWN: usize = 8;
    let mut ids: Vec<String> = sessions.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    if sessions.len() > SHOWN {
        ids.push(format!("and {} more", sessions.len() - SHOWN));
    }
    ids.join(", ")
}

impl Store {
    /// Returns the session that a text names: a whole id, its last eight digits as listings show them, any beginning or
    /// end of at least four digits that no other session shares, `@latest`, `@latest~N`, or the name of a baseline behind
    /// a `@`.
    ///
    /// # Errors
    ///
    /// When nothing or more than one session matches, with those that are near; or when the store cannot be read.
    pub fn resolve(&self, text: &str) -> Result<SessionId, ResolveError> {
        let look_up = || -> Result<(Vec<SessionId>, Vec<Baseline>), Failure> {
            // One snapshot, so that a baseline never stands for a session that is not seen.
            let snapshot = self.connection().unchecked_transaction()?;
            // Only where one is asked for: a damaged row of a baseline keeps nobody from the sessions.
            let baselines = if asks_for_baseline(text) { held(&snapshot)? } else { Vec::new() };
            Ok((ids(&snapshot)?, baselines))
        };
        let (sessions, baselines) =
            look_up().map_err(|failure| failure.into_store_error(self.path(), "looking a session up"))?;
        resolve_among(&sessions, &baselines, text)
    }
}

fn asks_for_baseline(text: &str) -> bool {
    text.strip_prefix('@').is_some_and(|name| !name.starts_with(RESERVED))
}

/// Resolves a text among sessions, newest first, and baselines.
fn resolve_among(
    sessions: &[SessionId],
    baselines: &[Baseline],
    text: &str,
) -> Result<SessionId, ResolveError> {
    if sessions.is_empty() {
        return Err(ResolveError::NoSessions { text: text.to_owned() });
    }
    match text.strip_prefix('@') {
        Some(name) if asks_for_baseline(text) => resolve_baseline(baselines, text, name),
        Some(name) => resolve_latest(sessions, text, name),
        None => resolve_digits(sessions, text),
    }
}

fn resolve_baseline(baselines: &[Baseline], text: &str, name: &str) -> Result<SessionId, ResolveError> {
    if let Some(baseline) = baselines.iter().find(|own| own.name.as_str() == name) {
        return Ok(baseline.session);
    }
    let known: Vec<BaselineName> = baselines.iter().map(|own| own.name.clone()).collect();
    Err(ResolveError::UnknownName { text: text.to_owned(), nearest: nearest(name, &known), known })
}

fn resolve_latest(sessions: &[SessionId], text: &str, name: &str) -> Result<SessionId, ResolveError> {
    let unknown = || ResolveError::UnknownName { text: text.to_owned(), nearest: None, known: Vec::new() };
    let back = match name.strip_prefix(RESERVED).ok_or_else(unknown)? {
        "" => 0,
        suffix => {
            let digits = suffix.strip_prefix('~').ok_or_else(unknown)?;
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(unknown());
            }
            // More digits than fit reach back beyond any store.
            digits.parse().unwrap_or(usize::MAX)
        }
    };
    let beyond = || ResolveError::BeyondFirst { text: text.to_owned(), n: sessions.len() };
    sessions.get(back).copied().ok_or_else(beyond)
}

fn resolve_digits(sessions: &[SessionId], text: &str) -> Result<SessionId, ResolveError> {
    let typed = text.to_ascii_lowercase();
    if let Some(whole) = Uuid::try_parse(&typed).ok().map(SessionId).filter(|id| sessions.contains(id)) {
        return Ok(whole);
    }
    if typed.len() < FEWEST {
        return Err(ResolveError::TooShort { text: text.to_owned() });
    }
    let matching = |matches: &dyn Fn(&str) -> bool| -> Vec<SessionId> {
        sessions.iter().copied().filter(|id| matches(&id.to_string())).collect()
    };
    // What a listing shows always means the session it stands beside, even where another id begins so.
    if typed.len() == SHORT_ID {
        let by_tail = matching(&|id| id.ends_with(&typed));
        if by_tail.len() == 1 {
            return Ok(by_tail[0]);
        }
    }
    let matches = matching(&|id| id.starts_with(&typed) || id.ends_with(&typed));
    match matches.len() {
        0 => Err(unknown(sessions, text, &typed)),
        1 => Ok(matches[0]),
        _ => Err(ResolveError::Ambiguous { text: text.to_owned(), matches }),
    }
}

/// Offers the sessions whose beginning or end looks like what was typed, or else the newest.
fn unknown(sessions: &[SessionId], text: &str, typed: &str) -> ResolveError {
    let mut near: Vec<(usize, SessionId)> =
        sessions.iter().map(|id| (distance(&id.to_string(), typed), *id)).collect();
    // A typing error or two in every eight digits; more is another id.
    near.retain(|(distance, _)| {
        *distance <= typed.len().div_ceil(SHORT_ID) * 2 && *distance < typed.len() / 2
    });
    near.sort_by_key(|(distance, _)| *distance);
    let alike = !near.is_empty();
    let nearest = if alike {
        near.into_iter().map(|(_, id)| id).take(OFFERED).collect()
    } else {
        sessions.iter().copied().take(OFFERED).collect()
    };
    ResolveError::Unknown { text: text.to_owned(), alike, nearest }
}

/// Returns the edit distance from what was typed to as many digits of an id's beginning or end.
fn distance(id: &str, typed: &str) -> usize {
    let length = typed.chars().count().min(id.len());
    let (beginning, end) = (&id[..length], &id[id.len() - length..]);
    strsim::levenshtein(beginning, typed).min(strsim::levenshtein(end, typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newest first, as the store lists them; the first two share their first fourteen characters.
    fn sessions() -> Vec<SessionId> {
        [
            "019a7c40-aaaa-7111-8000-00005f0c29d1",
            "019a7c40-aaaa-7222-8000-0000e2410b77",
            "019a6b21-bbbb-7333-8000-0000019a7c40",
            "019a5511-cccc-7444-8000-0000c0ffee00",
        ]
        .iter()
        .map(|text| SessionId(text.parse().unwrap()))
        .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: usize) {
        let sessions = sessions();
        assert_eq!(resolve_among(&sessions, &[], text).unwrap(), sessions[expected], "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, sentence: &str) {
        assert_eq!(resolve_among(&sessions(), &[], text).unwrap_err().to_string(), sentence);
    }

    #[test]
    fn a_session_is_found_by_whole_id_beginning_and_end() {
        check("019a7c40-aaaa-7111-8000-00005f0c29d1", 0);
        check("019A7C40AAAA722280000000E2410B77", 1);
        check("5f0c29d1", 0);
        check("E2410B77", 1);
        check("0b77", 1);
        check("019a6", 2);
        check("019a7c40-aaaa-72", 1);
    }

    #[test]
    fn a_short_id_wins_over_ids_that_begin_so() {
        check("019a7c40", 2);
    }

    #[test]
    fn latest_counts_back_from_the_newest() {
        check("@latest", 0);
        check("@latest~0", 0);
        check("@latest~3", 3);
        check_refused(
            "@latest~4",
            "`@latest~4` reaches back beyond the first session: the store holds 4, so N is at most 3",
        );
        for text in ["@last", "@latest~", "@latest~-1", "@latest~x", "@latest2", "@"] {
            let sentence = format!("`{text}` is no name of a session; known are `@latest` and `@latest~N`");
            check_refused(text, &sentence);
        }
    }

    /// Names that stand for the sessions of `sessions`, one each.
    fn baselines(names: &[&str]) -> Vec<Baseline> {
        let baseline = |(session, name): (SessionId, &&str)| Baseline {
            name: name.parse().unwrap(),
            session,
            set_at: jiff::Timestamp::UNIX_EPOCH,
            note: None,
        };
        sessions().into_iter().zip(names).map(baseline).collect()
    }

    #[test]
    fn a_baseline_is_found_by_its_name_behind_the_sign() {
        let baselines = baselines(&["main", "release/1.4", "019a"]);
        for (text, expected) in [("@main", 0), ("@release/1.4", 1), ("@019a", 2), ("@latest", 0)] {
            let found = resolve_among(&sessions(), &baselines, text).unwrap();
            assert_eq!(found, sessions()[expected], "{text}");
        }
        assert!(resolve_among(&sessions(), &baselines, "main").is_err());
    }

    #[test]
    fn an_unknown_name_offers_the_nearest_or_else_all() {
        let (known, none_set) = (baselines(&["main", "nightly"]), Vec::new());
        let none = "known are `@latest` and `@latest~N`";
        for (text, baselines, offered) in [
            ("@mian", &known, "nearest: `@main`"),
            ("@Main", &known, "nearest: `@main`"),
            ("@main~1", &known, "nearest: `@main`"),
            ("@nigthly2", &known, "nearest: `@nightly`"),
            ("@prod", &known, "known are `@latest`, `@latest~N`, `@main`, `@nightly`"),
            ("@", &known, "known are `@latest`, `@latest~N`, `@main`, `@nightly`"),
            ("@mian", &none_set, none),
            ("@latest~x", &known, none),
        ] {
            let error = resolve_among(&sessions(), baselines, text).unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is no name of a session; {offered}"));
        }
    }

    #[test]
    fn an_ambiguous_beginning_lists_what_it_matches() {
        check_refused(
            "019a7c40-aaaa",
            "`019a7c40-aaaa` matches 2 sessions: `019a7c40-aaaa-7111-8000-00005f0c29d1`, \
             `019a7c40-aaaa-7222-8000-0000e2410b77`",
        );
    }

    #[test]
    fn an_unknown_id_offers_the_nearest_or_else_the_newest() {
        check_refused(
            "5f0c29d2",
            "no session matches `5f0c29d2`; nearest: `019a7c40-aaaa-7111-8000-00005f0c29d1`",
        );
        check_refused(
            "nonsense",
            "no session matches `nonsense`; the newest: `019a7c40-aaaa-7111-8000-00005f0c29d1`, \
             `019a7c40-aaaa-7222-8000-0000e2410b77`, `019a6b21-bbbb-7333-8000-0000019a7c40`",
        );
        check_refused(
            "ünïcödé-ünïcödé-ünïcödé-ünïcödé-ünïcödé",
            &format!(
                "no session matches `ünïcödé-ünïcödé-ünïcödé-ünïcödé-ünïcödé`; the newest: {}",
                join(&sessions()[..3])
            ),
        );
    }

    #[test]
    fn too_few_digits_and_an_empty_store_are_refused() {
        check_refused(
            "d1",
            "`d1` is too short for an id: type at least 4 digits of its beginning or its end",
        );
        let error = resolve_among(&[], &[], "@latest").unwrap_err();
        assert_eq!(error.to_string(), "`@latest` names no session: the store holds none");
    }
}

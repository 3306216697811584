//! What a user types, to a session id.
//!
//! | typed | means |
//! |---|---|
//! | `019a7c40-…` | the session with this id |
//! | `5f0c29d1` | the session whose id ends so, as listings show it |
//! | four digits or more | the only session whose id begins or ends so |
//! | `@latest` | the newest session |
//! | `@latest~2` | the one two before the newest |
//!
//! Ids begin with their time, and so neighbours begin alike; they end at random. That is why an end is as good as a
//! beginning here, and why the end is what listings show.

use lab_core::record::SessionId;
use uuid::Uuid;

use crate::error::StoreError;
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
    /// A `@` word that lab does not know.
    #[error("`{text}` is no name of a session; known are `@latest` and `@latest~N`")]
    UnknownName {
        /// What was typed.
        text: String,
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
    /// end of at least four digits that no other session shares, `@latest`, or `@latest~N`.
    ///
    /// # Errors
    ///
    /// When nothing or more than one session matches, with those that are near; or when the store cannot be read.
    pub fn resolve(&self, text: &str) -> Result<SessionId, ResolveError> {
        let sessions = ids(self.connection())
            .map_err(|failure| failure.into_store_error(self.path(), "looking a session up"))?;
        resolve_among(&sessions, text)
    }
}

/// Resolves a text among sessions, newest first.
fn resolve_among(sessions: &[SessionId], text: &str) -> Result<SessionId, ResolveError> {
    if sessions.is_empty() {
        return Err(ResolveError::NoSessions { text: text.to_owned() });
    }
    match text.strip_prefix('@') {
        Some(name) => resolve_name(sessions, text, name),
        None => resolve_digits(sessions, text),
    }
}

fn resolve_name(sessions: &[SessionId], text: &str, name: &str) -> Result<SessionId, ResolveError> {
    let unknown = || ResolveError::UnknownName { text: text.to_owned() };
    let back = match name.strip_prefix("latest").ok_or_else(unknown)? {
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
        assert_eq!(resolve_among(&sessions, text).unwrap(), sessions[expected], "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, sentence: &str) {
        assert_eq!(resolve_among(&sessions(), text).unwrap_err().to_string(), sentence);
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
        let error = resolve_among(&[], "@latest").unwrap_err();
        assert_eq!(error.to_string(), "`@latest` names no session: the store holds none");
    }
}

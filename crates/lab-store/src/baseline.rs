//! Baselines: names for the sessions that others are compared with.
//!
//! A name is set, set to another session, and removed by appending a row. The newest row of a name holds; all of them
//! together are its history. Which sessions make good baselines is not decided here: the store judges nothing.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use lab_core::record::SessionId;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::body::{damaged, decode, encode, nanos_of, time_of};
use crate::chain::{BASELINE, SESSION};
use crate::error::{Failure, StoreError};
use crate::open::Store;

/// Most characters of a name.
const LONGEST: usize = 64;

/// How the names of sessions begin that every store has: `@latest`, `@latest~N`.
pub(crate) const RESERVED: &str = "latest";

/// The name of a baseline: 1 to 64 of the characters `a`–`z`, `0`–`9`, `.`, `_`, `/` and `-`. It begins neither with `-`,
/// as options do, nor with `latest`, which names the newest session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaselineName(String);

/// Why a text cannot be the name of a baseline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaselineNameError {
    /// There is nothing.
    #[error("the name of a baseline has at least one character")]
    Empty,
    /// It begins as something else does.
    #[error("the name of a baseline does not begin with `{character}`, as `{}` does", name.escape_debug())]
    Start {
        /// What was given.
        name: String,
        /// How it begins.
        character: char,
    },
    /// It has a character that no name has.
    #[error(
        "character {position} of `{}` is `{}`; the name of a baseline has only the characters a-z, 0-9 and `.`, `_`, \
         `/`, `-`",
        name.escape_debug(),
        character.escape_debug()
    )]
    Character {
        /// What was given.
        name: String,
        /// The first character that no name has.
        character: char,
        /// Where it stands, from 1.
        position: usize,
    },
    /// It could be taken for the newest session.
    #[error("`{name}` begins with `{RESERVED}`, which is kept for the newest session")]
    Reserved {
        /// What was given.
        name: String,
    },
    /// It is too long.
    #[error("the name of a baseline has at most {LONGEST} characters, and this one has {n}")]
    TooLong {
        /// How many characters were given.
        n: usize,
    },
}

impl BaselineName {
    /// Returns the name as text, without the `@` that stands in front of it where a session is asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaselineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaselineName {
    type Err = BaselineNameError;

    fn from_str(text: &str) -> Result<Self, BaselineNameError> {
        let name = text.to_owned();
        match text.chars().next() {
            None => return Err(BaselineNameError::Empty),
            Some(character @ ('@' | '-')) => return Err(BaselineNameError::Start { name, character }),
            Some(_) => {}
        }
        if let Some((before, character)) = text.chars().enumerate().find(|(_, own)| !is_permitted(*own)) {
            return Err(BaselineNameError::Character { name, character, position: before + 1 });
        }
        if text.starts_with(RESERVED) {
            return Err(BaselineNameError::Reserved { name });
        }
        // Every permitted character is one byte.
        match text.len() {
            n if n > LONGEST => Err(BaselineNameError::TooLong { n }),
            _ => Ok(Self(name)),
        }
    }
}

const fn is_permitted(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9' | '.' | '_' | '/' | '-')
}

/// A name that holds: the session that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// The name.
    pub name: BaselineName,
    /// The session.
    pub session: SessionId,
    /// When the name was set to it.
    pub set_at: Timestamp,
    /// What was said about it.
    pub note: Option<String>,
}

/// One change of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineChange {
    /// The session that the name was set to; none where the name was removed.
    pub session: Option<SessionId>,
    /// When.
    pub set_at: Timestamp,
    /// What was said about it.
    pub note: Option<String>,
}

/// The JSON body of a row.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct BaselineBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Store {
    /// Sets a name to a session, or removes it when there is none. What the name stood for before stays in its history.
    ///
    /// # Errors
    ///
    /// When the store does not hold the session, when a name is removed that does not hold, or when the store cannot be
    /// written.
    pub fn set_baseline(
        &mut self,
        name: &BaselineName,
        session: Option<&SessionId>,
        set_at: Timestamp,
        note: Option<&str>,
    ) -> Result<(), StoreError> {
        let what = format!("the baseline `{name}`");
        let set_at = nanos_of(&what, set_at)?;
        let body = encode(&what, &BaselineBody { note: note.map(str::to_owned) })?;
        self.append("setting a baseline", |connection| {
            match session {
                Some(session) => refuse_unknown_session(connection, *session)?,
                None => refuse_unless_held(connection, name)?,
            }
            let seq: i64 =
                connection
                    .query_row("SELECT coalesce(max(seq), 0) + 1 FROM baseline", [], |row| row.get(0))?;
            connection.execute(
                "INSERT INTO baseline (seq, name, session, set_at, body) VALUES (?, ?, ?, ?, ?)",
                (seq, name.as_str(), session.map(SessionId::to_string), set_at, &body),
            )?;
            BASELINE.link(connection, &[&seq])?;
            Ok(())
        })
    }

    /// Returns what a name stands for; nothing when it was never set, or was removed.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn baseline(&self, name: &str) -> Result<Option<Baseline>, StoreError> {
        Ok(self.baselines()?.into_iter().find(|own| own.name.as_str() == name))
    }

    /// Returns every name that holds, in the order of the names.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn baselines(&self) -> Result<Vec<Baseline>, StoreError> {
        held(self.connection())
            .map_err(|failure| failure.into_store_error(self.path(), "reading the baselines"))
    }

    /// Returns every change of a name, newest first. The first of them is what holds.
    ///
    /// # Errors
    ///
    /// When the name was never set, with the nearest one that holds; when the store cannot be read or a row is damaged.
    pub fn baseline_history(&self, name: &str) -> Result<Vec<BaselineChange>, StoreError> {
        let read = || -> Result<Vec<BaselineChange>, Failure> {
            let snapshot = self.connection().unchecked_transaction()?;
            let rows = changes(&snapshot)?.into_iter().filter(|(own, _)| own.as_str() == name);
            let history: Vec<BaselineChange> = rows.map(|(_, change)| change).rev().collect();
            if history.is_empty() { Err(unknown(&snapshot, name)?.into()) } else { Ok(history) }
        };
        read().map_err(|failure| failure.into_store_error(self.path(), "reading the history of a baseline"))
    }
}

fn refuse_unknown_session(connection: &Connection, session: SessionId) -> Result<(), Failure> {
    if SESSION.holds(connection, &[&session.to_string()])? {
        return Ok(());
    }
    Err(StoreError::UnknownSession { session }.into())
}

fn refuse_unless_held(connection: &Connection, name: &BaselineName) -> Result<(), Failure> {
    if held(connection)?.iter().any(|own| own.name == *name) {
        return Ok(());
    }
    Err(unknown(connection, name.as_str())?.into())
}

fn unknown(connection: &Connection, name: &str) -> Result<StoreError, Failure> {
    let known: Vec<BaselineName> = held(connection)?.into_iter().map(|own| own.name).collect();
    Ok(StoreError::UnknownBaseline { name: name.to_owned(), nearest: nearest(name, &known), known })
}

/// Returns the name that looks most like what was typed, unless none looks like it.
pub(crate) fn nearest(typed: &str, known: &[BaselineName]) -> Option<BaselineName> {
    let nearest = lab_core::nearest::nearest(typed, known.iter().map(BaselineName::as_str))?;
    known.iter().find(|name| name.as_str() == nearest).cloned()
}

/// Words what is offered in the place of an unknown name.
pub(crate) fn offer(nearest: Option<&BaselineName>, known: &[BaselineName]) -> String {
    match (nearest, known) {
        (Some(name), _) => format!("nearest: `{name}`"),
        (None, []) => "none is set".to_owned(),
        (None, known) => format!("known are {}", quote(known, "")),
    }
}

/// Lists names between backticks, each behind a sign.
pub(crate) fn quote(names: &[BaselineName], sign: &str) -> String {
    /// An error is one line; a listing shows the rest.
    const SHOWN: usize = 8;
    let mut quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{sign}{name}`")).collect();
    if names.len() > SHOWN {
        quoted.push(format!("and {} more", names.len() - SHOWN));
    }
    quoted.join(", ")
}

/// Returns the names that hold, in their order.
pub(crate) fn held(connection: &Connection) -> Result<Vec<Baseline>, Failure> {
    // Of rows with the same name the map keeps the newest.
    let newest: BTreeMap<BaselineName, BaselineChange> = changes(connection)?.into_iter().collect();
    let baseline = |(name, change): (BaselineName, BaselineChange)| {
        let BaselineChange { session, set_at, note } = change;
        Some(Baseline { name, session: session?, set_at, note })
    };
    Ok(newest.into_iter().filter_map(baseline).collect())
}

/// Returns every row, oldest first.
pub(crate) fn changes(connection: &Connection) -> Result<Vec<(BaselineName, BaselineChange)>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT seq, name, session, set_at, body FROM baseline ORDER BY seq")?;
    let changes = statement.query_and_then([], change)?;
    changes.collect()
}

fn change(row: &Row<'_>) -> Result<(BaselineName, BaselineChange), Failure> {
    let seq: i64 = row.get(0)?;
    let subject = BASELINE.subject_of(&[&seq]);
    let (name, session): (String, Option<String>) = (row.get(1)?, row.get(2)?);
    let body: String = row.get(4)?;
    let BaselineBody { note } = decode(&subject, &body)?;
    let session_id = |text: &str| Uuid::try_parse(text).map_err(|error| damaged(&subject, &error));
    let session = session.as_deref().map(session_id).transpose()?.map(SessionId);
    let name = name.parse::<BaselineName>().map_err(|error| damaged(&subject, &error))?;
    Ok((name, BaselineChange { session, set_at: time_of(row.get(3)?), note }))
}

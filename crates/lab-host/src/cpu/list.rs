//! Lists of CPU numbers as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The largest CPU number that is believed. Linux is built for at most 8192 CPUs (`NR_CPUS_RANGE_END`, x86
/// Kconfig); the bound keeps a garbled `0-4000000000` from filling the memory.
const LARGEST_NUMBER: u32 = 65_535;

/// A set of CPU numbers. Written as `0-3,8` everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuList(BTreeSet<u32>);

/// A text that is not a list of CPU numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCpuList {
    /// A part is neither a number nor a range.
    #[error("`{part}` in the CPU list `{text}` is neither a number nor a range such as `0-3`")]
    NotANumber {
        /// The offending part.
        part: String,
        /// The whole list.
        text: String,
    },
    /// A range ends before it starts.
    #[error("the range `{part}` in the CPU list `{text}` ends before it starts")]
    Backwards {
        /// The offending range.
        part: String,
        /// The whole list.
        text: String,
    },
    /// A number is larger than any machine has CPUs.
    #[error("`{part}` in the CPU list `{text}` exceeds the largest CPU number, {LARGEST_NUMBER}")]
    TooLarge {
        /// The offending part.
        part: String,
        /// The whole list.
        text: String,
    },
}

impl CpuList {
    /// Returns the count of CPUs in the list.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether the list names no CPU.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether the list names this CPU.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// Returns the numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for CpuList {
    type Err = InvalidCpuList;

    /// Parses a list. The empty text is the empty list, as in the kernel's `isolated`.
    fn from_str(text: &str) -> Result<Self, InvalidCpuList> {
        let text = text.trim();
        let mut cpus = BTreeSet::new();
        if text.is_empty() {
            return Ok(Self(cpus));
        }
        for part in text.split(',') {
            let (first, last) = parse_range(part, text)?;
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

fn parse_range(part: &str, text: &str) -> Result<(u32, u32), InvalidCpuList> {
    let owned = || (part.to_owned(), text.to_owned());
    let number = |digits: &str| {
        let (part, text) = owned();
        digits.trim().parse::<u32>().map_err(|_| InvalidCpuList::NotANumber { part, text })
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (number(first)?, number(last)?);
    let (part, text) = owned();
    if last < first {
        return Err(InvalidCpuList::Backwards { part, text });
    }
    if last > LARGEST_NUMBER {
        return Err(InvalidCpuList::TooLarge { part, text });
    }
    Ok((first, last))
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for cpu in self.iter() {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        for (index, (first, last)) in runs.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuList {
    type Error = InvalidCpuList;

    fn try_from(text: String) -> Result<Self, InvalidCpuList> {
        text.parse()
    }
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> Self {
        list.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_parsed_and_written_in_its_shortest_form() {
        for (text, count, shortest) in [
            ("0", 1, "0"),
            ("0-3,8", 5, "0-3,8"),
            ("8,0,1,2,3\n", 5, "0-3,8"),
            ("0-1,2-3,3", 4, "0-3"),
            ("5-5", 1, "5"),
            ("0,2,4,6", 4, "0,2,4,6"),
            ("65535", 1, "65535"),
            ("", 0, ""),
        ] {
            let list: CpuList = text.parse().unwrap();
            assert_eq!((list.len(), list.to_string().as_str()), (count, shortest), "{text}");
            assert_eq!(list.to_string().parse(), Ok(list), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_list_is_refused_with_the_offending_part() {
        for (text, message) in [
            ("0-", "`0-` in the CPU list `0-` is neither a number nor a range such as `0-3`"),
            ("0,,2", "`` in the CPU list `0,,2` is neither a number nor a range such as `0-3`"),
            ("1,-3", "`-3` in the CPU list `1,-3` is neither a number nor a range such as `0-3`"),
            ("0-8:2", "`0-8:2` in the CPU list `0-8:2` is neither a number nor a range such as `0-3`"),
            ("1,3-2", "the range `3-2` in the CPU list `1,3-2` ends before it starts"),
            ("0-65536", "`0-65536` in the CPU list `0-65536` exceeds the largest CPU number, 65535"),
        ] {
            assert_eq!(text.parse::<CpuList>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_list_is_a_text_in_json() {
        let list: CpuList = [3, 0, 1].into_iter().collect();
        assert!(list.contains(3) && !list.contains(2) && !list.is_empty());
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(json, r#""0-1,3""#);
        assert_eq!(serde_json::from_str::<CpuList>(&json).unwrap(), list);
        assert!(serde_json::from_str::<CpuList>(r#""x""#).is_err());
    }
}

//! Topics of devices: the pattern they follow, and the ids in them.

use std::fmt;

use lab_core::device::{DeviceId, InvalidDeviceId};
use lab_core::excerpt::shown;

/// What stands for the device in a pattern.
const PLACE: &str = "{device_id}";
/// The longest topic: its length is written in two bytes (section 1.5.3).
const LONGEST_TOPIC: usize = 65_535;

/// A pattern, a topic or a device's id that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A pattern that does not say where the device is, or says more than one thing.
    #[error("`{typed}` is no pattern of topics: {why}; expected one such as `iot/metrics/{{device_id}}`")]
    Pattern {
        /// What was given.
        typed: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A topic that does not follow the pattern.
    #[error("the topic `{topic}` does not follow `{pattern}`")]
    Foreign {
        /// The topic, with escapes for what does not print.
        topic: String,
        /// The pattern.
        pattern: String,
    },
    /// An id that is none.
    #[error(transparent)]
    Device(#[from] InvalidDeviceId),
}

/// Topics that differ in one level, which is the device's id: `iot/metrics/{device_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The text in front of the id, its `/` included.
    before: String,
    /// The text behind it.
    after: String,
}

impl Pattern {
    /// Reads a pattern: levels parted by `/`, exactly one of which is `{device_id}`.
    ///
    /// # Errors
    ///
    /// When there is no such level or more than one, another level has a wildcard or a brace in it, or the topics would belong
    /// to the broker (`$SYS`, section 4.7.2).
    pub fn parse(typed: &str) -> Result<Self, TopicError> {
        let refuse = |why| Err(TopicError::Pattern { typed: shown(typed), why });
        let places = typed.split('/').filter(|level| *level == PLACE).count();
        let Some((before, after)) = typed.split_once(PLACE).filter(|_| places > 0) else {
            return refuse("no level of it is `{device_id}`");
        };
        if places > 1 || before.contains(['{', '}']) || after.contains(['{', '}']) {
            return refuse("`{device_id}` is to be one level of it, and nothing else has braces");
        }
        if typed.contains(['+', '#']) {
            return refuse("`+` and `#` are not possible in it");
        }
        let longest = LONGEST_TOPIC - DeviceId::LONGEST;
        if typed.starts_with('$') || typed.contains(char::is_control) || typed.len() > longest {
            return refuse("topics of the broker itself, control characters and 65 kB are not possible");
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// Returns the filter that subscribes to every device.
    pub fn filter(&self) -> String {
        format!("{}+{}", self.before, self.after)
    }

    /// Returns the topic of one device.
    pub fn topic(&self, device: &DeviceId) -> String {
        format!("{}{device}{}", self.before, self.after)
    }

    /// Returns the device that a topic is of.
    ///
    /// # Errors
    ///
    /// When the topic follows another pattern, or what stands in the device's place is no id.
    pub fn device_of(&self, topic: &str) -> Result<DeviceId, TopicError> {
        let inner = topic.strip_prefix(&self.before).and_then(|rest| rest.strip_suffix(&self.after));
        match inner.filter(|inner| !inner.contains('/')) {
            Some(inner) => Ok(DeviceId::parse(inner)?),
            None => Err(TopicError::Foreign { topic: shown(topic), pattern: self.to_string() }),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PLACE}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_becomes_a_filter_and_tells_the_device_of_a_topic() {
        for (typed, filter, topic) in [
            ("iot/metrics/{device_id}", "iot/metrics/+", "iot/metrics/00:0f:00:70:91:0a"),
            ("{device_id}", "+", "00:0f:00:70:91:0a"),
            ("fleet/{device_id}/metrics", "fleet/+/metrics", "fleet/00:0f:00:70:91:0a/metrics"),
        ] {
            let pattern = Pattern::parse(typed).unwrap();
            let device = DeviceId::parse("00:0f:00:70:91:0a").unwrap();
            assert_eq!((pattern.filter(), pattern.topic(&device)), (filter.to_owned(), topic.to_owned()));
            assert_eq!(pattern.device_of(topic), Ok(device));
            assert_eq!(pattern.to_string(), typed);
        }
    }

    #[test]
    fn a_pattern_that_names_no_device_or_two_is_refused() {
        for typed in [
            "",
            "iot/metrics",
            "iot/x{device_id}",
            "iot/{device_id}/{device_id}",
            "iot/{site}/{device_id}",
            "iot/+/{device_id}",
            "{device_id}/#",
            "$SYS/{device_id}",
            "iot\n/{device_id}",
        ] {
            let message = Pattern::parse(typed).unwrap_err().to_string();
            assert!(message.contains("is no pattern of topics"), "{typed}: {message}");
            assert!(message.ends_with("`iot/metrics/{device_id}`"), "{message}");
        }
    }

    #[test]
    fn a_topic_that_follows_another_pattern_has_no_device() {
        let pattern = Pattern::parse("iot/metrics/{device_id}").unwrap();
        for topic in ["iot/metrics", "iot/other/a", "iot/metrics/a/b", "x/iot/metrics/a"] {
            assert!(matches!(pattern.device_of(topic), Err(TopicError::Foreign { .. })), "{topic}");
        }
        assert!(matches!(pattern.device_of("iot/metrics/"), Err(TopicError::Device(_))));
        assert!(matches!(pattern.device_of("iot/metrics/.."), Err(TopicError::Device(_))));
        // What stands before and behind the id may not share a letter of the topic.
        let around = Pattern::parse("a/{device_id}/a").unwrap();
        assert!(around.device_of("a/a").is_err());
    }
}

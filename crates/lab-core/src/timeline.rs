//! When each generated token became visible: the raw data that every speed is derived from.

use serde::{Deserialize, Serialize};

/// When each generated token became visible, in nanoseconds since the generate request.
///
/// Never empty, never decreasing, and the last stamp is above zero, so that every speed derived from it is finite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Timeline {
    stamps_ns: Vec<u64>,
}

/// Stamps or bytes that are no timeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimeline {
    /// No token was stamped.
    #[error("a timeline needs at least one token")]
    Empty,
    /// A stamp lies before the one in front of it.
    #[error("token {index} is stamped {stamp_ns} ns, before its predecessor at {previous_ns} ns")]
    Backwards {
        /// Position of the token, from 0.
        index: usize,
        /// Its stamp.
        stamp_ns: u64,
        /// The stamp before it.
        previous_ns: u64,
    },
    /// The last token is stamped at the instant of the request.
    #[error("the last token is stamped at the instant of the request")]
    NoTime,
    /// The stored bytes end inside a number, or hold one above 64 bits.
    #[error("the stored timeline is damaged at byte {offset}")]
    Damaged {
        /// Offset of the number that cannot be read.
        offset: usize,
    },
}

impl Timeline {
    /// Checks stamps (nanoseconds since the request, one a token) and keeps them.
    ///
    /// # Errors
    ///
    /// When there is none, one decreases, or the last is zero.
    pub fn new(stamps_ns: Vec<u64>) -> Result<Self, InvalidTimeline> {
        let last = *stamps_ns.last().ok_or(InvalidTimeline::Empty)?;
        for (index, pair) in stamps_ns.windows(2).enumerate() {
            let (previous_ns, stamp_ns) = (pair[0], pair[1]);
            if stamp_ns < previous_ns {
                return Err(InvalidTimeline::Backwards { index: index + 1, stamp_ns, previous_ns });
            }
        }
        if last == 0 {
            return Err(InvalidTimeline::NoTime);
        }
        Ok(Self { stamps_ns })
    }

    /// Returns the stamps, in nanoseconds since the request.
    pub fn stamps_ns(&self) -> &[u64] {
        &self.stamps_ns
    }

    /// Returns how many tokens were generated.
    pub fn n_tokens(&self) -> usize {
        self.stamps_ns.len()
    }

    /// Returns the time to the first token, in nanoseconds.
    pub fn first_ns(&self) -> u64 {
        self.stamps_ns[0]
    }

    /// Returns the time to the last token, in nanoseconds: the total execution time of the contract.
    pub fn total_ns(&self) -> u64 {
        self.stamps_ns[self.stamps_ns.len() - 1]
    }

    /// Returns the N−1 gaps between neighbouring tokens, in nanoseconds and in order (the inter-token latencies).
    pub fn gaps_ns(&self) -> Vec<u64> {
        self.stamps_ns.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Returns the compact stored form: LEB128 of the first stamp, then of each gap.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.stamps_ns.len() * 4);
        let mut previous = 0;
        for stamp in &self.stamps_ns {
            push_leb128(&mut bytes, stamp - previous);
            previous = *stamp;
        }
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// When the bytes are damaged or what they say is no timeline.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidTimeline> {
        let mut stamps_ns = Vec::new();
        let mut offset = 0;
        let mut stamp: u64 = 0;
        while offset < bytes.len() {
            let damaged = InvalidTimeline::Damaged { offset };
            let (gap, length) = read_leb128(&bytes[offset..]).ok_or(damaged.clone())?;
            stamp = stamp.checked_add(gap).ok_or(damaged)?;
            stamps_ns.push(stamp);
            offset += length;
        }
        Self::new(stamps_ns)
    }
}

impl TryFrom<Vec<u64>> for Timeline {
    type Error = InvalidTimeline;

    fn try_from(stamps_ns: Vec<u64>) -> Result<Self, Self::Error> {
        Self::new(stamps_ns)
    }
}

impl From<Timeline> for Vec<u64> {
    fn from(timeline: Timeline) -> Self {
        timeline.stamps_ns
    }
}

/// Appends a number in LEB128 (DWARF 5, section 7.6): seven bits a byte, the lowest first.
fn push_leb128(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads one LEB128 number and its length in bytes.
fn read_leb128(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number: u64 = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let shift = u32::try_from(7 * index).ok()?;
        let low = u64::from(byte & 0x7f);
        let shifted = low.checked_shl(shift)?;
        if shifted >> shift != low {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_survives_a_round_trip() {
        let long: Vec<u64> = (1..2000).map(|token| token * 13_456_789).collect();
        for stamps in [vec![1], vec![0, 0, 127, 128, 16_384], vec![5, u64::MAX], long] {
            let timeline = Timeline::new(stamps).unwrap();
            assert_eq!(Timeline::from_bytes(&timeline.to_bytes()), Ok(timeline));
        }
    }

    #[test]
    fn stamps_that_are_no_timeline_are_refused() {
        assert_eq!(Timeline::new(vec![]), Err(InvalidTimeline::Empty));
        assert_eq!(Timeline::new(vec![0, 0]), Err(InvalidTimeline::NoTime));
        let backwards = InvalidTimeline::Backwards { index: 1, stamp_ns: 4, previous_ns: 5 };
        assert_eq!(Timeline::new(vec![5, 4]), Err(backwards));
    }

    #[test]
    fn damaged_bytes_are_refused_with_their_offset() {
        assert_eq!(Timeline::from_bytes(&[5, 0x80]), Err(InvalidTimeline::Damaged { offset: 1 }));
        assert_eq!(Timeline::from_bytes(&[0xff; 11]), Err(InvalidTimeline::Damaged { offset: 0 }));
        let overflow = [&[0xff; 9][..], &[1, 1]].concat();
        assert_eq!(Timeline::from_bytes(&overflow), Err(InvalidTimeline::Damaged { offset: 10 }));
    }

    #[test]
    fn gaps_are_one_fewer_than_tokens() {
        let timeline = Timeline::new(vec![10, 13, 17]).unwrap();
        assert_eq!(timeline.gaps_ns(), [3, 4]);
        assert_eq!((timeline.first_ns(), timeline.total_ns(), timeline.n_tokens()), (10, 17, 3));
    }
}

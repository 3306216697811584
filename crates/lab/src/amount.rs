//! Ages and sizes as people type them: a whole number and a unit.

/// An age, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) seconds: u64,
    /// As it was typed.
    pub(crate) text: String,
}

/// A size, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A kind of amount: what it is called, its units, and an example.
struct Kind {
    what: &'static str,
    units: &'static [(&'static str, u64)],
    example: &'static str,
}

static AGE: Kind = Kind {
    what: "an age",
    units: &[("h", 3_600), ("d", 86_400), ("w", 604_800)],
    example: "`12h`, `7d` or `4w`",
};

static SIZE: Kind = Kind {
    what: "a size",
    units: &[
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ],
    example: "`500MB` or `10GB`",
};

/// Parses an age; what is none is refused in words.
pub(crate) fn age(text: &str) -> Result<Age, String> {
    Ok(Age { seconds: AGE.parse(text)?, text: text.to_owned() })
}

/// Parses a size; what is none is refused in words.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    SIZE.parse(text).map(Size)
}

impl Kind {
    fn parse(&self, text: &str) -> Result<u64, String> {
        let Self { what, units, example } = self;
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() {
            return Err(format!(
                "it does not begin with a whole number; {what} is one with a unit: {example}"
            ));
        }
        let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
            let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "`{unit}` is none of the units {}; {what} is a whole number with a unit: {example}",
                known.join(", ")
            ));
        };
        let amount = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        amount.ok_or_else(|| "it is more than lab can count".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_whole_numbers_with_a_unit() {
        for (text, seconds) in [("0d", 0), ("12h", 43_200), ("7d", 604_800), ("4w", 2_419_200)] {
            assert_eq!(age(text).unwrap().seconds, seconds, "{text}");
        }
        for (text, bytes) in [("1B", 1), ("10GB", 10_000_000_000), ("2KiB", 2_048), ("1TiB", 1 << 40)] {
            assert_eq!(size(text), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_age_is_refused_with_what_one_is() {
        let no_number =
            "it does not begin with a whole number; an age is one with a unit: `12h`, `7d` or `4w`";
        for text in ["", "week", "-7d", " 7d"] {
            assert_eq!(age(text).unwrap_err(), no_number, "{text}");
        }
        for (text, unit) in [("7", ""), ("1.5d", ".5d"), ("7 d", " d"), ("7days", "days"), ("7D", "D")] {
            let sentence = format!(
                "`{unit}` is none of the units h, d, w; an age is a whole number with a unit: `12h`, `7d` or `4w`"
            );
            assert_eq!(age(text).unwrap_err(), sentence);
        }
        for text in ["99999999999999999999d", "18446744073709551615w"] {
            assert_eq!(age(text).unwrap_err(), "it is more than lab can count");
        }
        let error = size("10gb").unwrap_err();
        assert!(error.starts_with("`gb` is none of the units B, kB, MB, GB"), "{error}");
    }
}

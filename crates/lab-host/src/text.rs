//! The two little formats that procfs speaks: `key: value` lines and sizes with a unit.

/// Returns the value of the first line `name: value`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Returns the bytes in a size such as `1024 kB`. The kernel writes `kB` and means 1024 bytes (proc(5)).
pub(crate) fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the bytes in a size such as `48K`, `1M` or `512`, as sysfs writes it; the units are powers of 1024.
pub(crate) fn size_with_suffix(value: &str) -> Option<u64> {
    let (digits, unit) = match value.trim().split_at_checked(value.trim().len().saturating_sub(1))? {
        (digits, "K") => (digits, 1 << 10),
        (digits, "M") => (digits, 1 << 20),
        (digits, "G") => (digits, 1 << 30),
        _ => (value.trim(), 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Returns the bracketed one of several words: `madvise` in `always [madvise] never`.
pub(crate) fn chosen_word(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Model: \t x: y\nMem:\nMemTotal:  12 kB\n";
        assert_eq!(field(text, "MemTotal"), Some("12 kB"));
        assert_eq!(field(text, "Model"), Some("x: y"));
        assert_eq!(field(text, "Mem"), Some(""));
        assert_eq!(field(text, "Total"), None);
    }

    #[test]
    fn sizes_are_read_or_refused() {
        for (text, expected) in
            [("16 kB", Some(16384)), ("16", None), ("18446744073709551615 kB", None), ("-1 kB", None)]
        {
            assert_eq!(kibibytes(text), expected, "{text}");
        }
        for (text, expected) in [
            ("48K", Some(49152)),
            ("2M", Some(2 << 20)),
            ("512", Some(512)),
            ("", None),
            ("K", None),
            ("é", None),
            ("18446744073709551615G", None),
        ] {
            assert_eq!(size_with_suffix(text), expected, "{text}");
        }
    }

    #[test]
    fn the_chosen_word_is_the_bracketed_one() {
        assert_eq!(chosen_word("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen_word("always madvise"), None);
    }
}

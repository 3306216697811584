//! The known name that an unknown one was meant for.

/// Returns the candidate most like `name`, when one is like it enough to be meant.
///
/// Jaro-Winkler similarity of at least 0.8: `repeats` finds `repeat`, `foo` finds nothing.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_name_finds_what_it_is_like_and_nothing_else() {
        let known = ["repeat", "warmup", "isolation"];
        assert_eq!(nearest("repeats", known.into_iter()), Some("repeat"));
        assert_eq!(nearest("foo", known.into_iter()), None);
    }
}

//! What people call a repetition. Stored indices count warm-ups, too; people count what is measured, from 1.

use crate::record::{Repetition, RepetitionKind, Session};

impl Session {
    /// Returns the place of a measured repetition among the measured ones, from 1. It need not be recorded yet.
    pub fn place_of(&self, repetition: &Repetition) -> usize {
        1 + self.measured().filter(|own| own.repetition.index < repetition.index).count()
    }

    /// Returns what people call a repetition: `repetition 2 of 5`, `warm-up of launch 0`.
    ///
    /// How many there are to be is left out where it says nothing: of a repetition beyond those that were asked for, and of
    /// an experiment, which asks for pairs.
    pub fn name_of(&self, repetition: &Repetition) -> String {
        if repetition.kind == RepetitionKind::Warmup {
            return format!("warm-up of launch {}", repetition.launch);
        }
        let (place, asked) = (self.place_of(repetition), self.header.repeat as usize);
        match self.header.experiment.is_none() && place <= asked {
            true => format!("repetition {place} of {asked}"),
            false => format!("repetition {place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment::Side;
    use crate::fixtures;

    #[test]
    fn repetitions_are_named_by_their_place_among_the_measured_ones() {
        let session = fixtures::session(1, &[20_000, 20_000]);
        let names: Vec<String> =
            session.repetitions.iter().map(|own| session.name_of(&own.repetition)).collect();
        let expected =
            ["warm-up of launch 0", "repetition 1 of 2", "warm-up of launch 1", "repetition 2 of 2"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_repetition_is_named_alike_before_and_after_it_is_recorded() {
        let mut session = fixtures::session(1, &[20_000, 20_000]);
        let last = session.repetitions.pop().unwrap().repetition;
        assert_eq!(session.name_of(&last), "repetition 2 of 2");
    }

    #[test]
    fn what_was_not_asked_for_has_a_place_and_no_total() {
        let mut session = fixtures::session(1, &[20_000, 20_000]);
        session.header.repeat = 1;
        assert_eq!(session.name_of(&session.repetitions[3].repetition), "repetition 2");
        session.header.experiment = Some(fixtures::experiment(Side::A));
        assert_eq!(session.name_of(&session.repetitions[1].repetition), "repetition 1");
    }
}

//! Exit codes.

/// How the process ends. The numbers are an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done,
    /// Nothing could be measured.
    Nothing,
    /// Usage error.
    Usage,
    /// A requested gate is not met.
    Gate,
    /// Interrupted; a partial report is written.
    Interrupted,
    /// An exit code of a face's tool.
    Face(u8),
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Nothing => 1,
            Exit::Usage => 2,
            Exit::Gate => 3,
            Exit::Interrupted => 130,
            Exit::Face(code) => code,
        }
    }

    /// The worse of two ends: interrupted, nothing measured, usage error, a gate not met, done.
    pub fn worse(self, other: Exit) -> Exit {
        let order = [Exit::Interrupted, Exit::Nothing, Exit::Usage, Exit::Gate];
        order.into_iter().find(|exit| *exit == self || *exit == other).unwrap_or(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_an_interface() {
        assert_eq!([Exit::Done, Exit::Nothing, Exit::Usage, Exit::Gate].map(Exit::code), [0, 1, 2, 3]);
        assert_eq!([Exit::Interrupted, Exit::Face(99)].map(Exit::code), [130, 99]);
    }

    #[test]
    fn the_worse_of_two_ends_counts() {
        let all = [Exit::Done, Exit::Gate, Exit::Usage, Exit::Nothing, Exit::Interrupted];
        for (index, exit) in all.into_iter().enumerate() {
            for milder in &all[..=index] {
                assert_eq!((exit.worse(*milder), milder.worse(exit)), (exit, exit));
            }
        }
    }
}

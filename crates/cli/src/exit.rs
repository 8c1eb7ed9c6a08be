//! Exit codes.

/// How the process ends. The numbers are an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// Nothing could be measured.
    Nothing,
    /// The command line makes no sense.
    Usage,
    /// A gate that was asked for was not met.
    Gate,
    /// Ended from outside; what there was is reported.
    Interrupted,
    /// A face's own end, in its tool's numbers.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_an_interface() {
        assert_eq!([Exit::Done, Exit::Nothing, Exit::Usage, Exit::Gate].map(Exit::code), [0, 1, 2, 3]);
        assert_eq!([Exit::Interrupted, Exit::Face(99)].map(Exit::code), [130, 99]);
    }
}

//! Exit codes.

/// How the process ends. The numbers are an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done = 0,
    /// Nothing could be measured.
    Nothing = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A gate that was asked for was not met.
    Gate = 3,
    /// Ended from outside; what there was is reported.
    Interrupted = 130,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_an_interface() {
        assert_eq!([Exit::Done as u8, Exit::Nothing as u8, Exit::Usage as u8, Exit::Gate as u8], [0, 1, 2, 3]);
        assert_eq!(Exit::Interrupted as u8, 130);
    }
}

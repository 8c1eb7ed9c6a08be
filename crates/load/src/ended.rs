//! Why an exchange did not come to its end.

use streamgauge_core::record::{Failure, Outcome, Stage};

/// Why an exchange did not come to its end.
pub(crate) enum Ended {
    Cancelled,
    CutOff,
    Failed(Failure),
}

impl Ended {
    /// The same, at another stage.
    pub fn at(self, stage: Stage) -> Ended {
        match self {
            Ended::Failed(failure) => Ended::Failed(Failure { stage, ..failure }),
            ended => ended,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure)
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Outcome {
        match ended {
            Ended::Cancelled => Outcome::Cancelled,
            Ended::CutOff => Outcome::CutOff,
            Ended::Failed(failure) => Outcome::Failed(failure),
        }
    }
}

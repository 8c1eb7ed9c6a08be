//! Questions to a server outside the load, which are in no figure.

mod acknowledgements;
mod diagnosis;
mod kserve;
mod probe;
mod waiter;

pub use acknowledgements::delayed_acks;
pub use diagnosis::{Spoken, spoken};
pub use kserve::{AskError, Client};
pub use probe::{Fetched, ProbeError, Probed, Waiting, fetch, post, probe};

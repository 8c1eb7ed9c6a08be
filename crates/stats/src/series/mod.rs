//! Statistics over several runs: [`across`] compares the runs of one load, [`spread`](mod@spread) computes how much one figure differs among them.

pub mod across;
pub mod spread;

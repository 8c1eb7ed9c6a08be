//! What several runs say together: [`across`] compares the runs of one load, [`spread`](mod@spread) says how much one figure differs among them.

pub mod across;
pub mod spread;

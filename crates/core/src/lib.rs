//! The ground floor: what a run is (`plan`), what one request left behind (`record`, `received`, `stamp`), what a codec may say (`event`),
//! how load is offered (`load`, `arrival`, `schedule`, `curve`) and when it ends (`stop`), the things everything else measures with
//! (`clock`, `seed`, `units`), what was asked for (`setting`, `origin`), and what may be
//! shown to people (`text`, `secrets`).
//!
//! Nothing here does input or output, waits, or knows a protocol.

pub mod arrival;
mod cancel;
pub mod clock;
pub mod curve;
mod ending;
pub mod event;
mod handover;
mod hidden;
pub mod kserve;
pub mod load;
pub mod origin;
pub mod plan;
pub mod prompt;
pub mod received;
pub mod record;
pub mod sampling;
pub mod schedule;
pub mod secrets;
pub mod seed;
pub mod sequence;
pub mod setting;
pub mod stamp;
pub mod stop;
pub mod synthesis;
pub mod tensor;
pub mod text;
mod times;
pub mod units;

pub use clock::{Clock, Nanos, SystemClock};
pub use ending::{EarlyEnd, OverBudget, Satisfied, WindowVerdict};
pub use event::{Event, OutputKind, Usage};
pub use plan::RunPlan;
pub use prompt::Prompt;
pub use received::Received;
pub use record::{Chunk, Failure, FailureClass, Outcome, Phase, Record, Stage};
pub use setting::{Message, Setting, Wording};
pub use stamp::ReceiveStamp;
pub use tensor::{Datatype, Tensor, TensorSpec};

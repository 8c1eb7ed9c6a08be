//! Decides when requests are sent: what a slot waits for before each request, in a closed loop, in an open loop, and for users with a
//! rhythm.

mod pacer;
mod ticket;
mod users;
mod waits;

pub(crate) use pacer::Pacer;
pub(crate) use ticket::Ticket;
pub(crate) use users::User;
pub(crate) use waits::Waits;

//! Where results wait for Kafka: append → durable → acknowledged. Nothing leaves an outbox before the broker
//! has acknowledged it; what an outbox must drop, or the broker refuses, is accounted for with a gap.

mod contract;
mod deliver;
mod gaps;
mod memory;
mod publisher;
mod sink;
pub mod spool;
mod spool_watermarks;

pub use self::contract::{Outbox, Sequence};
pub use self::deliver::{Deliver, Undelivered};
pub use self::memory::MemoryOutbox;
pub use self::publisher::{Publisher, publish};
pub use self::spool::Spool;
pub use self::spool_watermarks::SpoolWatermarks;

//! The relay: forwards sealed datagrams between live sessions, and keeps the sessions.
//!
//! Two halves over shared tables. A [`Forwarder`] answers by value what to do with a datagram; it
//! is `Copy` and `Sync`, and never waits. [`Control`] is the one owner (`&mut`) of binds, keys,
//! moves and expiry; what the forwarders see of its work are two flat tables of atomics.
//!
//! ```text
//! match control.forwarder().forward(now, from, bytes) {
//!     Verdict::Forward { to } => socket.send(bytes, to),
//!     Verdict::Control | Verdict::Unbound => {
//!         if let Some(reply) = control.handle(now, from, bytes, &mut out) {
//!             socket.send(&out[..reply.len], reply.to);
//!         }
//!     }
//!     Verdict::Drop(_) => {}
//! }
//! // after the batch, and at control.poll_timeout():
//! control.handle_timeout(now);
//! while let Some(reply) = control.poll_transmit(now, &mut out) { … }
//! ```

mod address;
mod admission;
mod answering;
mod bind;
mod budget;
mod circle;
mod closing;
mod config;
mod control;
mod counters;
mod draining;
mod events;
mod forward;
mod handover;
mod hash;
mod hot;
mod index;
mod limiter;
mod list;
mod memory;
mod payers;
mod pending;
mod registry;
mod sealing;
mod secrets;
mod sessions;
mod sync;
mod wheel;

pub use admission::TokenRules;
pub use budget::{Budget, Price, RatePrice};
pub use config::{HandshakeRates, RelayConfig, RelayConfigError};
pub use control::{Control, REPLY_MAX, Reply, TableFull};
pub use counters::{ControlCounters, ControlDrops, Refusals};
pub use events::{SessionChange, SessionEvent};
pub use forward::{Counters, DropReason, Forwarder, Forwarding, Prices, Verdict};
pub use handover::{HANDOVER_FORMAT, HANDOVER_KEYS_LEN, HANDOVER_RECORD_LEN};
pub use hash::HashKey;
pub use hot::HotEntry;
pub use index::{IndexBucket, IndexEntry};
pub use limiter::{AnswerRates, Rate};
pub use memory::{Memory, Parts, RelayLimits, RelayMemory, SESSION_BYTES, Tables};
pub use pending::Pending;
pub use sessions::Session;

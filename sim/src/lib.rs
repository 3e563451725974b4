//! Deterministic worlds of Waylane endpoints, relays and links.
//!
//! Everything happens in virtual time on one thread, and everything random comes from the seed: a
//! failure found once is found again. The endpoints and relays are those of `waylane-core`, the
//! cryptography is real.
//!
//! ```
//! use core::time::Duration;
//! use waylane_sim::{A, B, Link, World};
//!
//! let link = Link { loss: 0.05, ..Link::delayed(Duration::from_millis(40)) };
//! let mut world = World::connected_pair(7, link);
//! world.say(A, B, 1, b"hello");
//! assert!(world.run_until(Duration::from_secs(5), |world| !world.heard(B).is_empty()));
//! assert_eq!(world.take_messages(B, 1), [b"hello"]);
//! ```
#![forbid(unsafe_code)]

mod cross;
mod crypto;
mod link;
mod pair;
mod player;
mod queue;
mod random;
mod relay;
pub mod scenario;
mod trace;
pub mod workload;
mod world;

pub use cross::CrossCounters;
pub use crypto::{SeededCrypto, watch_opened};
pub use link::{Arrival, Bottleneck, Burst, Lane, Link, QueueMax, Traffic};
pub use pair::{A, B, R};
pub use player::{App, Driving, Endpoint, FRAME, Family, Hand, Heap, Heard, PlayerSetup};
pub use random::Random;
pub use relay::{Relay, RelayCounters};
pub use world::{CrossNo, PlayerNo, RelayNo, Sight, Tap, Way, World};

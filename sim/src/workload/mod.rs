//! The workloads a transport for games is measured by, and what Waylane promises for each.
//!
//! Two players and a relay. Everything that a link does — jitter, loss, reordering, a bottleneck —
//! happens on the leg of the receiving player; the other leg only takes its half of the stated round
//! trip. The relay's headers are in every datagram that is counted, and each datagram is counted
//! once, where it leaves its sender. Percentiles are pooled over all seeds; where a run has but one
//! figure, it is the median of the runs.

mod bulk;
mod burst;
mod game;
mod open;
mod path;
mod player;
mod samples;
mod table;

pub use bulk::{BulkReport, Rival, bulk, bulk_beside_game, bulk_beside_rival};
pub use burst::{BurstReport, burst};
pub use game::{GameReport, game};
pub use open::{Introduction, OpenReport, open};
pub use path::{Pace, Path};
pub use player::{Arrived, Flow, Journal, Load, SharedJournal, play};
pub use samples::Samples;
pub use table::{Row, Suite, Target};

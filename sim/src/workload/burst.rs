//! W2: much at once.

use core::time::Duration;
use std::rc::Rc;

use waylane_core::id::ChannelId;

use super::game::{flow, play_game};
use super::path::{Pace, Path, connected};
use super::player::{Load, SharedJournal, play};
use crate::pair::{A, B, R};
use crate::world::Way;

/// What W2 has shown.
#[derive(Clone, Debug)]
pub struct BurstReport {
    /// Until everything was delivered; `None` if that took more than a minute.
    pub done: Option<Duration>,
    /// How long datagrams waited at the bottleneck on average.
    pub queue_mean: Duration,
    /// How long one of them waited at most.
    pub queue_max: Duration,
    /// What must not happen.
    pub trouble: Vec<String>,
}

/// A thousand messages of 200 bytes and one of 256 KiB, reliable and in order, as soon as the
/// players are connected or after so much of W1.
#[must_use]
pub fn burst(seed: u64, path: &Path, after_game: Option<Duration>, pace: Pace) -> BurstReport {
    let mut world = connected(seed, path, 2, pace);
    if let Some(duration) = after_game {
        play_game(&mut world, &[SharedJournal::default(), SharedJournal::default()], duration);
        world.run_for(duration);
    }
    let before = world.traffic(B, R, Way::Down);
    let journal = SharedJournal::default();
    world.set_app(B, play(Vec::new(), Rc::clone(&journal)));
    let mut sizes = vec![200; MESSAGES - 1];
    sizes.push(256 * 1024);
    let now = world.now();
    let burst = flow(&world, B, 1, Load::Once(sizes), now, LIMIT);
    let sending = SharedJournal::default();
    world.set_app(A, play(vec![burst], Rc::clone(&sending)));
    let done = world.run_until(LIMIT, |_| arrived(&journal) == MESSAGES);
    let done = done.then(|| world.now().since(now));
    let traffic = world.traffic(B, R, Way::Down).since(&before);
    let mut trouble = journal.borrow().trouble.clone();
    trouble.extend(sending.borrow().trouble.iter().cloned());
    let in_order = journal.borrow().on(ChannelId(1)).zip(0..).all(|(got, n)| got.number == n);
    if !in_order {
        trouble.push("not in order".into());
    }
    BurstReport { done, queue_mean: traffic.waited_mean(), queue_max: traffic.waited_max, trouble }
}

/// Looked at after every happening, so it counts nothing twice.
fn arrived(journal: &SharedJournal) -> usize {
    let journal = journal.borrow();
    // Only what remains of a game that came before is on another channel, or has another number.
    if journal.arrived.len() < MESSAGES { 0 } else { journal.on(ChannelId(1)).count() }
}

const MESSAGES: usize = 1001;
const LIMIT: Duration = Duration::from_secs(60);

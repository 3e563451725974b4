//! What must hold, whatever went wrong.

use core::time::Duration;

use waylane_core::channel::PoolUsage;
use waylane_core::id::{ChannelId, Reliability};
use waylane_core::time::micros;

use super::check::PROBE_CHANNEL;
use super::link::WaySpec;
use super::run::Running;
use crate::workload::Flow;
use crate::world::{PlayerNo, RelayNo};

impl Running<'_> {
    /// Looks at everything, some time after all has calmed down.
    pub(super) fn look_after(&mut self) {
        self.all_reliable_arrived();
        self.order_and_once();
        self.no_waste();
        // Acknowledgements travel, and probes for what was not lost after all.
        self.run_to(self.world.now() + QUIET);
        self.memory_comes_back();
        self.probes_are_quick();
        for player in self.players() {
            let journal = self.journals[player.0].borrow();
            // One trouble tends to repeat itself.
            let trouble = journal.trouble.iter().take(3);
            self.broken.extend(trouble.map(|what| format!("player {}: {what}", player.0)));
        }
        let overdue = self.world.overdue();
        if overdue > OVERDUE_MAX {
            self.broken.push(format!("{overdue} deadlines were past when they were asked for"));
        }
    }

    fn all_reliable_arrived(&mut self) {
        for (n, send) in self.scenario.send.iter().enumerate().filter(|(_, send)| send.reliable) {
            let (sent, arrived) = self.progress(send);
            if sent != arrived {
                let why = format!(
                    "send {n}: {arrived} of {sent} reliable messages after {} of calm",
                    self.scenario.settle
                );
                self.broken.push(why);
            }
        }
    }

    fn order_and_once(&mut self) {
        for (n, send) in self.scenario.send.iter().enumerate() {
            let (from, channel) = (self.world.id(PlayerNo(send.from)), ChannelId(send.channel));
            let journal = self.journals[send.to].borrow();
            let numbers = journal.on(channel).filter(|message| message.from == from);
            let mut numbers: Vec<_> = numbers.map(|message| message.number).collect();
            let kind = send.reliability();
            if !matches!(kind, Reliability::Reliable | Reliability::UnreliableSequenced) {
                numbers.sort_unstable();
            } else if let Some(late) = numbers.windows(2).find(|pair| pair[0] > pair[1]) {
                self.broken.push(format!("send {n}: message {} after {}", late[1], late[0]));
            }
            let misplaced = (0..).zip(&numbers).find(|(at, number)| at != *number);
            if let Some((at, number)) = misplaced.filter(|_| kind.is_reliable()) {
                self.broken.push(format!("send {n}: message {number} in place of {at}"));
            }
            if let Some(twice) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
                self.broken.push(format!("send {n}: message {} came twice", twice[0]));
            }
        }
    }

    /// Nobody sends much more than what it was given: every byte twice again at most, and headers.
    fn no_waste(&mut self) {
        let seconds = self.world.now().since(self.starts).as_secs() + 10;
        for player in self.players() {
            let journal = self.journals[player.0].borrow();
            let (messages, payload) =
                (journal.sent.values().sum::<u64>(), journal.sent_bytes.values().sum::<u64>());
            let counters = self.world.endpoint(player).counters();
            let (bytes, heard) = (counters.bytes_out, counters.datagrams_in);
            let allowed = 3 * payload + HEADERS * (2 * messages + heard + IDLE_PACKETS * seconds);
            if bytes > allowed {
                let why = format!(
                    "player {} sent {bytes} bytes for {payload} in {messages} messages",
                    player.0
                );
                self.broken.push(why);
            }
        }
    }

    /// All that was sent is acknowledged. A player that only listens may learn with its next
    /// keep-alive that its relay was restarted, and hears nothing till then.
    fn memory_comes_back(&mut self) {
        let limit = self.world.now() + KEEP_ALIVE;
        while self.world.now() < limit
            && self.players().any(|player| !is_at_rest(&self.world.endpoint(player).pool_usage()))
        {
            self.run_to(self.world.now() + QUIET);
        }
        for player in self.players() {
            let usage = self.world.endpoint(player).pool_usage();
            if !is_at_rest(&usage) {
                let PoolUsage { send_blocks, nodes, .. } = usage;
                let why = format!(
                    "player {} at rest holds {send_blocks} blocks, {nodes} records",
                    player.0
                );
                self.broken.push(why);
            }
        }
    }

    /// On calm links a message takes no longer than the way. A few tries are allowed: who was silent
    /// does not know yet that its address is another, and guests leave relays nobody needs.
    fn probes_are_quick(&mut self) {
        let limit = self.longest_way() * 2 + TURNS;
        let mut missing: Vec<(PlayerNo, PlayerNo)> = Vec::new();
        for _ in 0..PROBES {
            let before = self.probes_heard();
            self.probe(limit);
            let after = self.probes_heard();
            let ways = self.ways().into_iter().zip(before.iter().zip(&after));
            let lost = ways.filter(|(_, (before, after))| **after != *before + 1);
            missing = lost.map(|(way, _)| way).collect();
            if missing.is_empty() {
                return;
            }
            self.run_to(self.world.now() + QUIET);
        }
        for (from, to) in missing {
            let limit = micros(limit) / 1000;
            self.broken.push(format!("{from:?} does not reach {to:?} within {limit} ms"));
        }
    }

    /// Everybody says something to everybody it knows.
    fn probe(&mut self, then_wait: Duration) {
        for (from, to) in self.ways() {
            // Its number is of no account.
            if let Err(error) = self.world.send(from, to, PROBE_CHANNEL, &[0; Flow::SIZE_MIN]) {
                self.broken.push(format!("{from:?} cannot send to {to:?}: {error}"));
            }
            self.world.flush(from);
        }
        self.run_to(self.world.now() + then_wait);
    }

    fn probes_heard(&self) -> Vec<u64> {
        let heard = |(from, to): (PlayerNo, PlayerNo)| {
            let journal = self.journals[to.0].borrow();
            journal.arrived_on(self.world.id(from), ChannelId(PROBE_CHANNEL))
        };
        self.ways().into_iter().map(heard).collect()
    }

    fn ways(&self) -> Vec<(PlayerNo, PlayerNo)> {
        self.pairs().into_iter().flat_map(|(one, other)| [(one, other), (other, one)]).collect()
    }

    fn longest_way(&self) -> Duration {
        let delay = |player: PlayerNo, relay: RelayNo, way| {
            let link = self.spec(player.0, relay.0, way);
            link.delay.0 + link.jitter.0
        };
        let longest = |way| {
            let legs =
                self.players().flat_map(|player| self.relays().map(move |relay| (player, relay)));
            legs.map(|(player, relay)| delay(player, relay, way)).max().unwrap_or_default()
        };
        longest(WaySpec::Up) + longest(WaySpec::Down)
    }
}

/// Each open channel may keep a block for what comes next.
fn is_at_rest(usage: &PoolUsage) -> bool {
    usage.send_blocks <= usage.slots && usage.nodes <= NODES_AT_REST
}

const QUIET: Duration = Duration::from_secs(3);
/// A relay's, and time for what follows.
const KEEP_ALIVE: Duration = Duration::from_secs(18);
const PROBES: usize = 5;
/// For programs that have their turn 20 times a second or more.
const TURNS: Duration = Duration::from_millis(150);
/// What a packet has beside messages, and what a player at rest may send a second.
const HEADERS: u64 = 100;
const IDLE_PACKETS: u64 = 40;
/// Keep-alives on their way.
const NODES_AT_REST: u32 = 64;
const OVERDUE_MAX: u64 = 0;

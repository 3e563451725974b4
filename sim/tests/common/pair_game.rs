//! Two players who send each other 60 unreliable messages a second, and ten reliable ones, over
//! relays that are all equally far; with a log of what arrives when.
#![allow(dead_code, unreachable_pub)]

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use waylane_core::id::{ChannelId, PeerId, Reliability};
use waylane_core::time::Instant;
use waylane_sim::{A, B, Driving, Hand, Heard, Link, PlayerNo, PlayerSetup, RelayNo, World};

pub const R1: RelayNo = RelayNo(0);
pub const R2: RelayNo = RelayNo(1);
/// From a player to a relay: four of these are the round trip of 40 ms.
pub const HOPS: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_micros(16_667);
const UNRELIABLE: ChannelId = ChannelId(0);
const RELIABLE: ChannelId = ChannelId(1);

/// The seeds to try: a few, or as many as `WAYLANE_SEEDS` says.
pub fn seeds() -> core::ops::Range<u64> {
    let count = std::env::var("WAYLANE_SEEDS").ok().and_then(|count| count.parse().ok());
    0..count.unwrap_or(12)
}

/// What one player sends and hears.
#[derive(Default)]
struct Log {
    sent: Vec<Instant>,
    sent_reliable: u32,
    arrived: Vec<(Instant, u32)>,
    numbers: BTreeSet<u32>,
    reliable: u32,
    trouble: Vec<String>,
}

/// What arrived at a player.
#[derive(Clone, Default)]
pub struct Ledger(Rc<RefCell<Log>>);

impl Ledger {
    /// From `at` until the next unreliable message arrives that was sent after it.
    pub fn silence_after(&self, at: Instant) -> Duration {
        // What was on its way already had passed the place that broke.
        let log = self.0.borrow();
        let passed = at + HOPS;
        let next = log.arrived.iter().find(|(arrived, _)| *arrived > passed);
        next.map_or(Duration::MAX, |(arrived, _)| arrived.since(at))
    }

    fn longest_pause_after(&self, at: Instant) -> Duration {
        let log = self.0.borrow();
        let times = log.arrived.iter().map(|(at, _)| *at).filter(|arrived| *arrived >= at);
        let times: Vec<_> = times.collect();
        times.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or(Duration::MAX)
    }
}

/// A game between two players of a world.
pub struct Game {
    players: [PlayerNo; 2],
    ledgers: [Ledger; 2],
    over: Rc<Cell<bool>>,
}

impl Game {
    /// Connects the two and lets them play.
    pub fn between(world: &mut World, a: PlayerNo, b: PlayerNo) -> Self {
        world.introduce(a, b);
        let game = Self { players: [a, b], ledgers: Default::default(), over: Rc::default() };
        for (n, (player, other)) in [(a, b), (b, a)].into_iter().enumerate() {
            world.open(player, other, UNRELIABLE.0, Reliability::Unreliable);
            world.open(player, other, RELIABLE.0, Reliability::Reliable);
            world.take_heard(player);
            let (to, over) = (world.id(other), Rc::clone(&game.over));
            let own = game.ledgers[n].clone();
            world.set_app(player, Box::new(move |hand| turn(hand, to, &own, &over)));
        }
        game
    }

    pub fn players(&self) -> [PlayerNo; 2] {
        self.players
    }

    pub fn arrivals_of(&self, player: PlayerNo) -> &Ledger {
        &self.ledgers[usize::from(player == self.players[1])]
    }

    /// Messages on the unreliable channel that should have arrived at `player` and have not.
    pub fn lost(&self, now: Instant, player: PlayerNo) -> usize {
        let (own, other) = if player == self.players[0] { (0, 1) } else { (1, 0) };
        let (own, other) = (self.ledgers[own].0.borrow(), self.ledgers[other].0.borrow());
        let due = other.sent.iter().take_while(|sent| **sent + Duration::from_millis(300) < now);
        (0..due.count() as u32).filter(|number| !own.numbers.contains(number)).count()
    }

    /// Lets both fall silent, and checks that nothing reliable is lost or out of order.
    pub fn finish(&self, world: &mut World) {
        self.fall_silent();
        world.run_for(Duration::from_secs(10));
        self.check_reliable();
    }

    /// From now on nobody says anything.
    pub fn fall_silent(&self) {
        self.over.set(true);
    }

    /// Nothing reliable is lost or out of order, of what was said a while ago.
    pub fn check_reliable(&self) {
        for n in 0..2 {
            let (own, other) = (self.ledgers[n].0.borrow(), self.ledgers[1 - n].0.borrow());
            assert_eq!(own.trouble, [""; 0]);
            assert_eq!(own.reliable, other.sent_reliable, "reliable messages");
        }
    }
}

/// One turn of a player: takes what was heard, sends what is due.
fn turn(hand: &mut Hand<'_>, to: PeerId, own: &Ledger, over: &Cell<bool>) {
    let mut log = own.0.borrow_mut();
    for heard in hand.heard.drain(..) {
        if let Some((channel, data)) = heard.message() {
            let number = u32::from_le_bytes(*data.first_chunk().unwrap());
            if channel == RELIABLE {
                if number != log.reliable {
                    let expected = log.reliable;
                    log.trouble.push(format!("reliable {number} in place of {expected}"));
                }
                log.reliable += 1;
            } else if log.numbers.insert(number) {
                log.arrived.push((hand.now, number));
            } else {
                log.trouble.push(format!("unreliable {number} twice"));
            }
        } else if matches!(heard, Heard::PeerDisconnected(..) | Heard::ChannelClosed(..)) {
            log.trouble.push(format!("{heard:?}"));
        }
    }
    let connected = hand.endpoint.peer_stats(to).is_some_and(|stats| stats.connected);
    let next = log.sent.last().map_or(hand.now, |last| *last + TICK);
    if over.get() || !connected {
        return;
    }
    if hand.now < next {
        *hand.wakes_at = next;
        return;
    }
    let number = log.sent.len() as u32;
    let mut data = [7; 60];
    data[..4].copy_from_slice(&number.to_le_bytes());
    if hand.endpoint.send_message(to, UNRELIABLE, &data).is_ok() {
        log.sent.push(hand.now);
    }
    if number.is_multiple_of(6) {
        let number = log.sent_reliable;
        data[..4].copy_from_slice(&number.to_le_bytes());
        if hand.endpoint.send_message(to, RELIABLE, &data).is_ok() {
            log.sent_reliable += 1;
        }
    }
    hand.endpoint.flush();
    *hand.wakes_at = hand.now + TICK;
}

/// A game in a world of its own.
pub struct Match {
    pub world: World,
    game: Game,
}

/// Two players, A and B, and so many relays that both know, 40 ms of round trip between the players
/// over each; connected, with a home and a standby, and playing.
pub fn game_over(seed: u64, relays: usize, driving: Driving) -> Match {
    let mut world = World::new(seed);
    let relays: Vec<_> = (0..relays).map(|_| world.add_relay()).collect();
    for player in [A, B] {
        for relay in &relays {
            world.set_leg(player, *relay, Link::delayed(HOPS));
        }
        let mut directory = relays.clone();
        directory.rotate_left(seed as usize % relays.len());
        world.add_player(PlayerSetup { driving, ..PlayerSetup::new(&directory) });
    }
    assert!(world.bind(&[A, B]));
    world.run_for(Duration::from_secs(5));
    let game = Game::between(&mut world, A, B);
    Match { world, game }
}

impl Match {
    pub fn run(&mut self, span: Duration) {
        self.world.run_for(span);
    }

    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.world.now() + limit;
        while self.world.now() < end {
            if done(self) {
                return true;
            }
            self.world.run_for(Duration::from_millis(20));
        }
        done(self)
    }

    /// The relay that carries what `player` sends.
    pub fn relay_in_use(&self, player: PlayerNo) -> RelayNo {
        let other = if player == A { B } else { A };
        let relay = self.world.stats(player, other).unwrap().relay.unwrap();
        (0..8).map(RelayNo).find(|number| self.world.relay(*number).id() == relay).unwrap()
    }

    pub fn switches(&self) -> u32 {
        let of = |a, b| self.world.stats(a, b).unwrap().path_switches;
        of(A, B).max(of(B, A))
    }

    pub fn silence_after(&self, player: PlayerNo, at: Instant) -> Duration {
        self.game.arrivals_of(player).silence_after(at)
    }

    pub fn longest_pause_after(&self, player: PlayerNo, at: Instant) -> Duration {
        self.game.arrivals_of(player).longest_pause_after(at)
    }

    pub fn lost(&self, player: PlayerNo) -> usize {
        self.game.lost(self.world.now(), player)
    }

    pub fn finish(mut self) {
        self.game.finish(&mut self.world);
    }
}

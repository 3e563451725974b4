//! A player whose relay asks for a token: told in time, renewed in place. In virtual time.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod relay_support;

use core::net::SocketAddr;
use core::time::Duration;

use relay_support::{Client, Outcome, Provider, World, small};
use waylane_core::channel::Scope;
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::endpoint::{Config, Endpoint, Event, RelayLostReason, RelayRefusedReason};
use waylane_core::relay::{RelayConfig, TokenRules};
use waylane_core::time::Instant;
use waylane_core::token::{Claims, Region, Token, TokenKeys};
use waylane_crypto::{Seeded, TokenSigner};
use waylane_sim::Heap;

#[test]
fn the_player_is_told_in_time_and_a_new_token_changes_nothing_else() {
    let mut table = Table::new(Some(300));
    table.pass(10);
    let session = table.player.route().unwrap().relays()[0].session;
    assert_eq!(table.expiring, []);
    table.pass(180);
    assert_eq!(table.expiring, [(180, 120)], "once, two minutes before");
    table.player.set_now(table.world.now);
    table.player.set_token(Some(token(table.second() + 300)));
    table.pass(290);
    assert_eq!(table.expiring.len(), 2, "of the new one, and not before");
    assert_eq!(table.player.route().unwrap().relays()[0].session, session);
    assert_eq!((&table.lost[..], &table.refused[..]), (&[][..], &[][..]));
    let counters = table.world.control.counters();
    assert_eq!((counters.sessions_live, counters.sessions_begun), (1, 1));
}

#[test]
fn without_a_new_token_the_session_ends_a_minute_later_and_a_new_one_brings_it_back() {
    let mut table = Table::new(Some(100));
    table.pass(5);
    assert_eq!(table.expiring.len(), 1, "at once: less than two minutes are left");
    table.pass(150);
    assert_eq!(table.world.live(), 1);
    table.pass(10);
    assert_eq!(table.world.live(), 0);
    assert_eq!(table.lost, [RelayLostReason::Expired]);
    assert_eq!(table.refused.first(), Some(&RelayRefusedReason::TokenExpired));
    table.player.set_now(table.world.now);
    table.player.set_token(Some(token(table.second() + 300)));
    table.pass(1);
    assert_eq!(table.world.live(), 1, "asked for again at once");
}

#[test]
fn a_player_without_a_token_is_told_that_one_is_wanted() {
    let mut table = Table::new(None);
    table.pass(3);
    assert_eq!(table.refused, [RelayRefusedReason::Token]);
}

#[test]
fn a_player_is_told_why_a_relay_takes_nobody() {
    let cases: [Case; 3] = [
        // For its first half minute a relay keeps all but an eighth for those it had before.
        (
            RelayRefusedReason::Full,
            |config| config.limits.sessions = 8,
            |world| {
                Client::bound(1, world);
            },
        ),
        (
            RelayRefusedReason::SourceFull,
            |config| config.sessions_per_source = 1,
            |world| {
                let mut neighbour = Client::at("192.0.2.9:10".parse().unwrap(), 1);
                neighbour.bind(world, false);
                neighbour.prove(world);
            },
        ),
        (
            RelayRefusedReason::Draining,
            |_| (),
            |world| {
                world.control.drain(world.now, Duration::from_secs(60));
            },
        ),
    ];
    for (reason, change, before) in cases {
        let mut config = small();
        change(&mut config);
        let mut table = Table::at(World::new(config), None);
        before(&mut table.world);
        table.pass(3);
        assert_eq!(table.refused, [reason]);
    }
}

/// Why a relay takes nobody, by which settings, and after what.
type Case = (RelayRefusedReason, fn(&mut RelayConfig), fn(&mut World));

/// A relay and one player.
struct Table {
    world: World,
    player: Endpoint<Provider, Heap>,
    /// When the player was told of its token's end, and how many seconds before.
    expiring: Vec<(u64, u32)>,
    lost: Vec<RelayLostReason>,
    refused: Vec<RelayRefusedReason>,
}

impl Table {
    /// The player's token is good for so many seconds, if it has one.
    fn new(seconds: Option<u64>) -> Self {
        let keys = TokenKeys::new(&[signer().public()]).unwrap();
        let tokens = TokenRules { keys, bearer: true, region: Region::NONE };
        let world = World::new(RelayConfig { tokens: Some(tokens), ..small() });
        Self::at(world, seconds.map(token))
    }

    fn at(world: World, token: Option<Token>) -> Self {
        let mut config = Config::default();
        config.token = token;
        let crypto = Provider::with_random(Seeded::new(5));
        let mut player = Endpoint::new(Instant::ZERO, &config, crypto, &mut Heap).unwrap();
        let entry = RelayEntry::new(*world.control.public_key(), &[relay_address()], "").unwrap();
        player.add_relay(&entry).unwrap();
        Self { world, player, expiring: Vec::new(), lost: Vec::new(), refused: Vec::new() }
    }

    fn second(&self) -> u64 {
        self.world.now.as_millis() / 1000
    }

    /// Lets so many seconds pass, in tenths.
    fn pass(&mut self, seconds: u64) {
        let at: SocketAddr = "192.0.2.9:9".parse().unwrap();
        let mut out = [0; 1472];
        for _ in 0..seconds * 10 {
            let told = self.world.pass(Duration::from_millis(100));
            let now = self.world.now;
            for (_, mut datagram) in told {
                let _ = self.player.handle_datagram(now, relay_address(), &mut datagram);
            }
            self.player.handle_timeout(now);
            while let Some(sent) = self.player.poll_transmit(now, Scope::Everything, 1, &mut out) {
                let answer = self.world.send(at, &out[..sent.len]);
                if let Outcome::Answered(mut answer) = answer {
                    let _ = self.player.handle_datagram(now, relay_address(), &mut answer);
                }
            }
            let second = self.second();
            while let Some(event) = self.player.poll_event() {
                if let Event::TokenExpiring { left, .. } = event {
                    self.expiring.push((second, left));
                } else if let Event::RelayLost { reason, .. } = event {
                    self.lost.push(reason);
                } else if let Event::RelayRefused { reason, .. } = event {
                    self.refused.push(reason);
                }
            }
        }
    }
}

fn token(until_second: u64) -> Token {
    signer().issue(&Claims::until(1_700_000_000 + until_second))
}

fn signer() -> TokenSigner {
    TokenSigner::from_secret(&Secret([1; 32]))
}

fn relay_address() -> SocketAddr {
    "198.51.100.1:4433".parse().unwrap()
}

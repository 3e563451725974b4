//! Bytes become operations on a relay and its peers, beside a naive model of who is bound where.
//!
//! Whatever happens: every datagram is forwarded, consumed or dropped, and counted once; no answer
//! is longer than its request; a datagram is forwarded if and only if it comes from a live session
//! and names another, and then to where that one is. Where tokens are asked for, nobody has a
//! session without a good one, nobody with one is refused for it, and no session outlives it by more
//! than its minute.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use waylane_core::crypto::Secret;
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{
    Budget, Control, ControlCounters, Counters, DropReason, REPLY_MAX, RelayConfig, RelayLimits,
    Verdict,
};
use waylane_core::time::Instant;
use waylane_core::wire::Kind;
use waylane_core::wire::hop::{Alternatives, ControlMessage, Probe, RefusedReason};

use crate::badge::{self, Badge};
use crate::hop::{Answer, Hop, address};
use crate::script::Script;
use crate::toy::Toy;
use crate::world::{RelaySlices, relay_memory};

/// Plays the script.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut play = Play::new(script.byte());
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.take() else { break };
        play.operate(operation, &mut script);
    }
    play.compare();
}

struct Play {
    now: Instant,
    started: Instant,
    config: RelayConfig,
    control: Control<Toy, RelaySlices>,
    forwarded: Counters,
    datagrams_in: u64,
    starts: u64,
    draining: bool,
    hops: Vec<Hop>,
    /// What each peer shows, if tokens are asked for.
    badges: Vec<Badge>,
    /// When the session ends that each peer was told last, by the token it showed.
    token_ends: Vec<Instant>,
    /// Who is bound, as the model has it.
    live: Vec<Live>,
    /// Every session id that was ever told.
    ids: BTreeSet<SessionId>,
    /// Control datagrams that were taken: never again.
    taken: BTreeSet<Vec<u8>>,
    /// What peers have sent, to be sent again.
    past: Vec<(SocketAddr, Vec<u8>)>,
}

/// A live session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Live {
    key: PublicKey,
    id: SessionId,
    address: SocketAddr,
    /// Unless it is kept alive.
    ends: Instant,
    /// Whatever it does.
    ends_for_good: Instant,
}

impl Play {
    /// Bit 0: the budgets are so small that they run out. Bit 1: the start's reserved time is over.
    /// Bit 2: tokens are asked for.
    fn new(how: u8) -> Self {
        let mut config = RelayConfig {
            limits: RelayLimits { sessions: 8, pending: 2 },
            unix_seconds_at_start: 1_700_000_000,
            ..RelayConfig::default()
        };
        config.budget = if how & 1 == 0 {
            Budget {
                packets_per_second: 1_000_000,
                bytes_per_second: 1_000_000_000,
                burst_ms: 1000,
            }
        } else {
            Budget { packets_per_second: 100, bytes_per_second: 30_000, burst_ms: 100 }
        };
        if how & 1 != 0 {
            config.source =
                Budget { packets_per_second: 150, bytes_per_second: 40_000, ..config.budget };
        }
        config.tokens = (how & 4 != 0).then(badge::rules);
        let now = Instant::from_millis(10_500);
        let control = started(now, &config, 0);
        let hops: Vec<_> = (0..PEERS).map(|n| Hop::new(n, *control.public_key())).collect();
        let unix_s = config.unix_seconds_at_start;
        let badge = |hop: &Hop| Badge::new(unix_s, hop.key.public(), &mut Script::new(&[]));
        let badges = hops.iter().map(badge).collect();
        let waited = if how & 2 == 0 { 0 } else { 40 };
        Self {
            now: now + Duration::from_secs(waited),
            started: now,
            config,
            control,
            forwarded: Counters::default(),
            datagrams_in: 0,
            starts: 0,
            draining: false,
            hops,
            badges,
            token_ends: vec![Instant::FAR; usize::from(PEERS)],
            live: Vec::new(),
            ids: BTreeSet::new(),
            taken: BTreeSet::new(),
            past: Vec::new(),
        }
    }

    fn operate(&mut self, operation: u8, script: &mut Script<'_>) {
        let peer = usize::from(operation >> 5) % self.hops.len();
        let from = self.hops[peer].address;
        match operation & 31 {
            0..=1 => {
                let hello = self.hops[peer].hello();
                let answer = self.ask(peer, hello);
                assert_eq!(answer, Some(Answer::Cookie), "a Hello is answered");
            }
            2..=4 => self.bind(peer, script),
            5..=6 => self.resume(peer, script),
            7..=10 => {
                let time = u32::from(script.byte());
                self.control_message(peer, ControlMessage::KeepAlive { time });
            }
            11 => self.control_message(peer, ControlMessage::Unbind),
            12 => {
                let wrong = [
                    ControlMessage::KeepAliveAck { time: 1 },
                    ControlMessage::Drain { left_s: 1, alternatives: Alternatives::NONE },
                    ControlMessage::SessionReplaced,
                    ControlMessage::Expired,
                ];
                self.control_message(peer, script.choose(&wrong));
            }
            15 if self.config.tokens.is_some() => {
                let key = *self.hops[peer].key.public();
                self.badges[peer] = Badge::new(self.unix_s(), &key, script);
            }
            13..=15 => self.join(peer),
            16..=17 => self.data(from, script),
            18 => self.send(from, script.bytes().to_vec()).map_or((), drop),
            19..=20 => self.replay(script),
            21..=22 => self.damage(script),
            23..=25 => self.wait(script.choose(&WAITS)),
            26 => {
                let at = self.control.poll_timeout();
                if at != Instant::FAR {
                    self.now = self.now.max(at);
                }
                self.wait(Duration::ZERO);
            }
            27 => self.hops[peer].address = address(script.byte() % 16),
            28 => self.restart_or_drain(script.byte()),
            29 => self.insert(script.byte()),
            30 => {
                let mut probe = vec![0; Probe::LEN];
                Probe { reply: script.byte() > 200, nonce: [3; 8] }.emit(&mut probe).expect("room");
                let _ = self.ask(peer, probe);
            }
            _ => self.compare(),
        }
        self.poll();
        assert_eq!(self.control.counters().sessions_live, self.live.len() as u64);
    }

    // ------------------------------------------------------------------ What peers do

    /// Hello, Bind and the proof.
    fn join(&mut self, peer: usize) {
        let hello = self.hops[peer].hello();
        let _ = self.ask(peer, hello);
        let bind = self.hops[peer].bind(false, &self.badges[peer].token);
        if self.asked_for_session(peer, bind) == Some(Answer::Bound) {
            self.control_message(peer, ControlMessage::KeepAlive { time: 1 });
        }
    }

    fn bind(&mut self, peer: usize, script: &mut Script<'_>) {
        let how = script.byte();
        let bind = self.hops[peer].bind(how & 1 != 0, &self.badges[peer].token);
        self.asked_for_session(peer, bind);
    }

    fn resume(&mut self, peer: usize, script: &mut Script<'_>) {
        let token = &self.badges[peer].token;
        if let Some(resume) = self.hops[peer].resume(script.byte() & 1 != 0, token) {
            self.asked_for_session(peer, resume);
        }
    }

    fn asked_for_session(&mut self, peer: usize, datagram: Vec<u8>) -> Option<Answer> {
        let answer = self.ask(peer, datagram);
        let is_good = self.config.tokens.is_none() || self.badges[peer].is_good(self.unix_s());
        let told = match answer {
            Some(Answer::Bound) => {
                assert!(!self.draining, "a relay that is about to stop takes nobody");
                assert!(is_good, "no session without a good token");
                self.ids.insert(self.hops[peer].session);
                self.token_ends[peer] = self.token_end(peer);
                true
            }
            Some(Answer::Refused(RefusedReason::Draining)) => self.draining,
            Some(Answer::Refused(
                RefusedReason::Token
                | RefusedReason::TokenExpired
                | RefusedReason::TokenPeer
                | RefusedReason::TokenRegion
                | RefusedReason::TokenSignature,
            )) => !is_good,
            Some(Answer::Refused(reason)) => reason != RefusedReason::Malformed,
            // Rate-limited.
            None => true,
            Some(Answer::Cookie | Answer::Control(_) | Answer::Other) => false,
        };
        assert!(told, "{answer:?}");
        answer
    }

    /// Sends a control message, and keeps the model in step if it is taken.
    fn control_message(&mut self, peer: usize, message: ControlMessage) {
        if self.hops[peer].bound_at.is_none() {
            return;
        }
        let datagram = self.hops[peer].control(message);
        let from = self.hops[peer].address;
        let before = self.control.counters();
        let answer = self.ask(peer, datagram.clone());
        let after = self.control.counters();
        let proven = proofs(&after) > proofs(&before);
        let taken = after.keep_alives + after.unbinds > before.keep_alives + before.unbinds;
        if !taken && !proven {
            assert!(!matches!(answer, Some(Answer::Control(_))), "only what is taken is answered");
            return;
        }
        assert!(self.taken.insert(datagram), "a control datagram is taken once");
        let Hop { session, bound_at, .. } = self.hops[peer];
        let key = *self.hops[peer].key.public();
        assert_eq!(bound_at, Some(from), "only from where the bind came");
        let is_theirs = |live: &Live| live.id == session && live.address == from && live.key == key;
        if proven {
            self.enter(key, session, from, self.token_ends[peer]);
        }
        let place = self.live.iter().position(is_theirs).expect("the session is live");
        if let ControlMessage::KeepAlive { time } = message {
            self.live[place].ends = self.end_of_life().min(self.live[place].ends_for_good);
            let ack = Answer::Control(ControlMessage::KeepAliveAck { time });
            assert_eq!(answer, Some(ack), "a keep-alive is answered");
        } else if message == ControlMessage::Unbind {
            self.live.remove(place);
        }
    }

    /// A session becomes live: its key and its address have no other.
    fn enter(&mut self, key: PublicKey, id: SessionId, address: SocketAddr, last: Instant) {
        self.live.retain(|live| live.key != key && live.address != address);
        assert!(self.live.iter().all(|live| live.id.slot() != id.slot()), "a slot has one session");
        let ends = self.end_of_life().min(last);
        self.live.push(Live { key, id, address, ends, ends_for_good: last });
    }

    fn insert(&mut self, number: u8) {
        let key = PublicKey([number | 0x80; 32]);
        let at = address(number % 16);
        let before = proofs(&self.control.counters());
        if let Ok(id) = self.control.insert(self.now, &key, at) {
            assert_eq!(proofs(&self.control.counters()), before + 1);
            self.ids.insert(id);
            self.enter(key, id, at, Instant::FAR);
        }
    }

    // ------------------------------------------------------------------ What the network does

    /// A datagram towards one of the sessions ever told, or to none.
    fn data(&mut self, from: SocketAddr, script: &mut Script<'_>) {
        let nth = script.below(self.ids.len() + 1);
        let id = self.ids.iter().nth(nth).copied().unwrap_or(SessionId::new(3, 12345));
        let kind = script.choose(&[0x80, 0x87, 0x40, 0x41, 0x42, 0x80]);
        let mut datagram = vec![kind; 8 + script.below(1480)];
        datagram[1..8].copy_from_slice(&id.to_bytes());
        self.send(from, datagram);
    }

    /// Something sent before comes again, from where it came or from elsewhere.
    fn replay(&mut self, script: &mut Script<'_>) {
        let (nth, elsewhere) = (script.below(PAST), script.byte());
        let Some((from, datagram)) = self.past.get(nth).cloned() else { return };
        let from = if elsewhere < 128 { from } else { address(elsewhere % 16) };
        self.untaken(from, datagram);
    }

    fn damage(&mut self, script: &mut Script<'_>) {
        let (nth, at, change) = (script.below(PAST), script.below(300), script.byte());
        let Some((from, mut datagram)) = self.past.get(nth).cloned() else { return };
        if change == 0 {
            datagram.truncate(at);
        } else if let Some(byte) = datagram.get_mut(at) {
            *byte ^= change;
        }
        self.untaken(from, datagram);
    }

    /// Sends what no peer has sent in this form for the first time: it changes no session, unless
    /// it is a control datagram that has not been taken yet and comes from the right place.
    fn untaken(&mut self, from: SocketAddr, datagram: Vec<u8>) {
        if Kind::of(&datagram) == Ok(Kind::Control) {
            let fresh = self.past.iter().any(|past| *past == (from, datagram.clone()))
                && !self.taken.contains(&datagram);
            if fresh {
                // Late, but the peer's own: what it does is tested when it is sent at once.
                return;
            }
        }
        let before = self.control.counters();
        self.send(from, datagram);
        let after = self.control.counters();
        let of = |c: &ControlCounters| (proofs(c), c.keep_alives, c.unbinds, c.sessions_live);
        assert_eq!(of(&before), of(&after), "no session changes");
    }

    fn restart_or_drain(&mut self, how: u8) {
        if how < 128 {
            self.starts += 1;
            self.started = self.now;
            self.config.unix_seconds_at_start = 1_700_000_000 + self.now.as_millis() / 1000;
            self.control = started(self.now, &self.config, self.starts);
            (self.forwarded, self.datagrams_in, self.draining) = (Counters::default(), 0, false);
            self.live.clear();
            self.taken.clear();
        } else {
            self.control.drain(self.now, Duration::from_secs(u64::from(how & 63)));
            self.draining = true;
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.control.handle_timeout(self.now);
        let now = self.now;
        self.live.retain(|live| live.ends > now);
    }

    // ------------------------------------------------------------------ The relay

    /// Sends for a peer, who takes the answer.
    fn ask(&mut self, peer: usize, datagram: Vec<u8>) -> Option<Answer> {
        let from = self.hops[peer].address;
        if self.past.len() == PAST {
            self.past.remove(0);
        }
        self.past.push((from, datagram.clone()));
        let answer = self.send(from, datagram)?;
        Some(self.hops[peer].take(&answer))
    }

    /// Every datagram goes through here; returns the answer, if there is one.
    fn send(&mut self, from: SocketAddr, mut datagram: Vec<u8>) -> Option<Vec<u8>> {
        self.datagrams_in += 1;
        let verdict = self.control.forwarder().forward(self.now, from, &datagram);
        self.forwarded.count(verdict, datagram.len());
        self.judge(from, &datagram, verdict);
        let mut answer = None;
        if matches!(verdict, Verdict::Control | Verdict::Unbound) {
            let mut out = [0; REPLY_MAX];
            let len = datagram.len();
            if let Some(reply) = self.control.handle(self.now, from, &mut datagram, &mut out) {
                assert_eq!(reply.to, from, "an answer goes where the question came from");
                assert!(reply.len <= len, "an answer of {} bytes to {len}", reply.len);
                answer = Some(out[..reply.len].to_vec());
            }
        }
        let (control, forwarded) = (self.control.counters(), self.forwarded);
        assert_eq!(control.consumed() + control.dropped.total(), forwarded.control);
        let all = forwarded.forwarded + forwarded.control + forwarded.dropped();
        assert_eq!(all, self.datagrams_in, "in = forwarded + consumed + dropped");
        answer
    }

    /// The verdict is what the model says.
    fn judge(&self, from: SocketAddr, datagram: &[u8], verdict: Verdict) {
        // A token may give its subject little.
        let small = self.config.budget.packets_per_second < 1000;
        let may_run_out = small || self.config.tokens.is_some();
        let expected = self.expected(from, datagram);
        let is_sent = !matches!(expected, Verdict::Control | Verdict::Unbound)
            && expected != Verdict::Drop(DropReason::Malformed);
        let is_handshake = datagram.first().is_some_and(|kind| *kind < 0x80);
        let over_budget = is_sent
            && (verdict == Verdict::Drop(DropReason::OverBudget) && may_run_out
                || verdict == Verdict::Drop(DropReason::SourceOverBudget)
                    && small
                    && self.shares_source(from)
                || is_handshake
                    && matches!(
                        verdict,
                        Verdict::Drop(
                            DropReason::HandshakesOverBudget
                                | DropReason::SourceHandshakesOverBudget
                                | DropReason::DestinationHandshakesOverBudget
                        )
                    ));
        assert!(over_budget || verdict == expected, "{verdict:?}, not {expected:?}");
    }

    /// Whether several sessions pay for what comes from this address: those that are there, or
    /// where tokens are asked for wherever one of its subject is.
    fn shares_source(&self, from: SocketAddr) -> bool {
        let source = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => (4, u64::from(ip.to_bits())),
            IpAddr::V6(ip) => (6, (ip.to_bits() >> 64) as u64),
        };
        let there = self.live.iter().filter(|live| source(live.address) == source(from));
        there.count() > 1 || self.config.tokens.is_some()
    }

    fn expected(&self, from: SocketAddr, datagram: &[u8]) -> Verdict {
        let [kind, id @ ..] = datagram else { return Verdict::Drop(DropReason::Malformed) };
        let Some(id) = id.first_chunk().filter(|_| datagram.len() <= 1472) else {
            return Verdict::Drop(DropReason::Malformed);
        };
        let id = SessionId::from_bytes(*id);
        if *kind < 0x40 {
            return Verdict::Control;
        }
        if !matches!(kind, 0x40..=0x42 | 0x80..=0x87) || datagram.len() < 28 {
            return Verdict::Drop(DropReason::Malformed);
        }
        let Some(sender) = self.live.iter().find(|live| live.address == from) else {
            return Verdict::Unbound;
        };
        if sender.id.slot() == id.slot() {
            return Verdict::Drop(DropReason::ToItself);
        }
        match self.live.iter().find(|live| live.id == id) {
            Some(live) => Verdict::Forward { to: live.address },
            None => Verdict::Drop(DropReason::NoDestination),
        }
    }

    /// From every address to every session ever told.
    fn compare(&mut self) {
        for number in 0..16 {
            for id in self.ids.clone() {
                let mut datagram = vec![0x80; 28];
                datagram[1..8].copy_from_slice(&id.to_bytes());
                self.send(address(number), datagram);
            }
        }
    }

    /// What the relay says of itself goes to those who have, or had, a session.
    fn poll(&mut self) {
        let mut out = [0; REPLY_MAX];
        for _ in 0..100 {
            let Some(reply) = self.control.poll_transmit(self.now, &mut out) else {
                let due = self.control.poll_timeout();
                assert!(due > Instant::ZERO, "nothing is left to say");
                return;
            };
            assert!((0..16).any(|n| address(n) == reply.to), "{} had no session", reply.to);
            assert_eq!(Kind::of(&out[..reply.len]), Ok(Kind::Control));
        }
        panic!("says something for ever");
    }

    /// When a session that is kept alive now ends: in whole seconds of the relay's clock.
    fn end_of_life(&self) -> Instant {
        let end = (self.now + self.config.lifetime).since(self.started);
        self.started + Duration::from_secs(end.as_micros().div_ceil(1_000_000) as u64)
    }

    /// When a session ends that was given for the peer's token: a minute after it.
    fn token_end(&self, peer: usize) -> Instant {
        match self.badges[peer].good_until_unix_s {
            Some(end) if self.config.tokens.is_some() => {
                self.started + Duration::from_secs(end + 60 - self.config.unix_seconds_at_start)
            }
            _ => Instant::FAR,
        }
    }

    /// The relay's wall clock.
    fn unix_s(&self) -> u64 {
        let up = self.now.since(self.started).as_micros() / 1_000_000;
        self.config.unix_seconds_at_start + up as u64
    }
}

fn started(now: Instant, config: &RelayConfig, start: u64) -> Control<Toy, RelaySlices> {
    let crypto = Toy::new(900 + start);
    let memory = relay_memory(config.limits);
    Control::new(now, config, Secret([0x99; 32]), crypto, memory).expect("a good configuration")
}

fn proofs(counters: &ControlCounters) -> u64 {
    counters.sessions_begun + counters.sessions_resumed
}

const PEERS: u8 = 8;
const PAST: usize = 32;
const OPERATIONS_MAX: usize = 400;
const WAITS: [Duration; 8] = [
    Duration::from_micros(700),
    Duration::from_millis(30),
    Duration::from_secs(1),
    Duration::from_secs(9),
    Duration::from_secs(16),
    Duration::from_secs(31),
    Duration::from_secs(59),
    Duration::from_secs(62),
];

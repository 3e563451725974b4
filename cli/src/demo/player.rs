//! One player of the demo, in a process of its own: a game's loop with made-up traffic.

use core::time::Duration;
use std::time::Instant;

use waylane::{ChosenAs, Config, Event, NetworkManager, RelayState, RelayStatus, Reliability};
use waylane_core::directory::RelayEntry;

use super::children::{FromPlayer, ToPlayer, parse, say};
use super::report::{Player as Report, RELIABLE, RoundTrip, UNRELIABLE, WireBytes};
use super::traffic::{Header, RoundTrips, Tally};
use crate::input::{Input, Next};
use crate::link::Link;

/// What a player is started with.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// What lets it in.
    #[arg(long, value_parser = crate::player::token, allow_hyphen_values = true)]
    token: Option<waylane::Token>,
    /// Directory entries of the relays.
    #[arg(long, required = true)]
    relay: Vec<RelayEntry>,
    #[command(flatten)]
    link: Link,
}

/// Plays until standard input closes.
///
/// # Errors
/// When the network cannot be started, or standard input says what nobody says.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let config = Config {
        directory: options.relay.clone(),
        application: super::APPLICATION,
        token: options.token,
        outgoing: options.link.emulation(0),
        ..Config::default()
    };
    let net = NetworkManager::new(config).map_err(|e| e.to_string())?;
    let input = Input::new();
    let mut player = Player::new(net);
    loop {
        match input.next() {
            Next::Line(line) => player.obey(parse(&line)?)?,
            Next::Nothing => player.play(),
            Next::Closed => return Ok(()),
        }
    }
}

struct Player {
    net: NetworkManager,
    seen: Seen,
    other: Option<u64>,
    phase: Phase,
    next_progress: Instant,
}

enum Phase {
    /// Nothing to send yet.
    Idle,
    /// Sending at 60 Hz: the next tick, its number, and how many there are.
    Sending { next_tick: Instant, tick: u32, ticks: u32 },
    /// Waiting for what the other player has sent.
    Draining(Drain),
}

/// How long to wait for what is still under way.
struct Drain {
    /// Reliable messages that must come.
    expected: u64,
    /// Reliable messages seen at the last look, and when that number last grew.
    received: u64,
    grown: Instant,
    started: Instant,
}

impl Player {
    fn new(net: NetworkManager) -> Self {
        let now = Instant::now();
        let seen = Seen::new(now, net.peer_id());
        Self { net, seen, other: None, phase: Phase::Idle, next_progress: now }
    }

    fn obey(&mut self, order: ToPlayer) -> Result<(), String> {
        match order {
            ToPlayer::Connect { peer_id, route } => {
                self.other = Some(peer_id);
                self.net.connect_peer(peer_id, &route).map_err(|e| e.to_string())?;
                for (channel, reliability) in CHANNELS {
                    self.net
                        .open_channel(peer_id, channel, reliability)
                        .map_err(|e| e.to_string())?;
                }
            }
            ToPlayer::Route { peer_id, route } => {
                self.net.update_peer(peer_id, &route).map_err(|e| e.to_string())?;
            }
            ToPlayer::Start { seconds } => {
                let next_tick = Instant::now();
                self.phase = Phase::Sending { next_tick, tick: 0, ticks: seconds * TICKS_PER_S };
            }
            ToPlayer::Expect { reliable } => {
                let now = Instant::now();
                let drain = Drain { expected: reliable, received: 0, grown: now, started: now };
                self.phase = Phase::Draining(drain);
            }
        }
        Ok(())
    }

    /// One turn of the loop: receive, send, wait.
    fn play(&mut self) {
        let seen = &mut self.seen;
        self.net.run_callbacks(|_, event| seen.on(event));
        let now = Instant::now();
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Sending { .. } => self.send_due(now),
            Phase::Draining(drain) => {
                if drain.is_over(&mut self.seen, now) {
                    self.phase = Phase::Idle;
                    say(&FromPlayer::Done(self.report()));
                }
            }
        }
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS;
            say(&FromPlayer::Progress(self.report()));
        }
        self.net.flush();
        self.net.wait(self.patience(now));
    }

    /// Sends what the ticks up to `now` have to send.
    fn send_due(&mut self, now: Instant) {
        while let Phase::Sending { next_tick, tick, ticks } = &mut self.phase {
            if *next_tick > now {
                return;
            }
            let this = *tick;
            *tick += 1;
            *next_tick += TICK;
            let is_last = *tick == *ticks;
            self.send(UNRELIABLE, POSITION_LEN);
            if this.is_multiple_of(LOOT_EVERY) {
                self.send(RELIABLE, LOOT_LEN);
            }
            if this % TICKS_PER_S == TICKS_PER_S / 2 {
                self.send(RELIABLE, LEVEL_LEN);
            }
            if is_last {
                self.phase = Phase::Idle;
                let reliable = self.seen.tally(RELIABLE).counts().messages_sent;
                say(&FromPlayer::Sent { reliable });
            }
        }
    }

    fn send(&mut self, channel: u8, len: usize) {
        let Some(other) = self.other else { return };
        let header = self.seen.header(channel);
        let mut message = [0; LEVEL_LEN];
        let Some(message) = message.get_mut(..len) else { return };
        header.write(message);
        // A full queue is an answer: what was not taken is not counted as sent, and its number
        // goes to the next message.
        if self.net.send_message(other, channel, message).is_ok() {
            self.seen.tally(channel).sent(len);
        }
    }

    fn patience(&self, now: Instant) -> Duration {
        let until_tick = match &self.phase {
            Phase::Sending { next_tick, .. } => next_tick.saturating_duration_since(now),
            Phase::Idle | Phase::Draining(_) => LOOK_AT_INPUT,
        };
        until_tick.min(LOOK_AT_INPUT)
    }

    fn report(&mut self) -> Report {
        let counters = self.net.counters();
        let channels = CHANNELS.map(|(n, _)| (n, self.seen.tally(n).counts().clone()));
        let stats = self.other.and_then(|other| self.net.stats(other)).unwrap_or_default();
        let number = |relay| self.net.relays().position(|status| Some(status.id) == relay);
        let serves = |status: &RelayStatus<'_>| {
            let chosen = matches!(status.chosen_as, ChosenAs::Home | ChosenAs::Standby);
            chosen && status.state == RelayState::Bound
        };
        Report {
            path: number(stats.relay).map(|at| at + 1),
            path_switches: stats.path_switches,
            gap_ms_max: self.seen.gap_max.as_secs_f64() * 1000.0,
            reachable_at: self.net.relays().filter(serves).count(),
            peer_id: self.net.peer_id(),
            channels: channels.into(),
            rtt_ms: self.seen.round_trip(),
            wire_bytes: WireBytes { out: counters.bytes_out, r#in: counters.bytes_in },
        }
    }
}

impl Drain {
    /// Whether everything reliable is here and what is unreliable had its time, or nothing came
    /// for too long.
    fn is_over(&mut self, seen: &mut Seen, now: Instant) -> bool {
        let received = seen.tally(RELIABLE).counts().messages_received;
        if received > self.received {
            (self.received, self.grown) = (received, now);
        }
        let waited = now - self.started;
        if received >= self.expected {
            let round_trip = seen.round_trip().p99.unwrap_or_default() / 1000.0;
            return waited >= STRAGGLERS.max(Duration::from_secs_f64(2.0 * round_trip));
        }
        now - self.grown > PATIENCE || waited > PATIENCE_MAX
    }
}

/// What the player learns from events.
struct Seen {
    me: u64,
    start: Instant,
    tallies: [Tally; 2],
    opened: [bool; 2],
    round_trips: RoundTrips,
    /// The other's newest stamp, and when it came.
    newest: Option<(u64, Instant)>,
    /// When the latest unreliable message came, and the longest time between two.
    came: Option<Instant>,
    gap_max: Duration,
}

impl Seen {
    fn new(start: Instant, me: u64) -> Self {
        let tallies = [Tally::default(), Tally::default()];
        let round_trips = RoundTrips::default();
        Self {
            me,
            start,
            tallies,
            opened: [false; 2],
            round_trips,
            newest: None,
            came: None,
            gap_max: Duration::ZERO,
        }
    }

    fn tally(&mut self, channel: u8) -> &mut Tally {
        &mut self.tallies[usize::from(channel == RELIABLE)]
    }

    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Message { channel, data, .. } => self.on_message(channel, data),
            Event::RouteUpdate { route } => {
                say(&FromPlayer::Route { peer_id: self.me, route: route.to_string() });
            }
            Event::ChannelOpened { channel, .. } => {
                let were_open = self.opened == [true; 2];
                self.opened[usize::from(channel == RELIABLE)] = true;
                if self.opened == [true; 2] && !were_open {
                    say(&FromPlayer::Ready);
                }
            }
            Event::PeerDisconnected { reason, .. } => notice(format!("disconnected: {reason}")),
            Event::RelayLost { reason, .. } => notice(reason.to_string()),
            Event::RelayRefused { reason, .. } => notice(reason.to_string()),
            // The rest needs no answer from a player whose only partner is known.
            Event::PeerConnected { .. }
            | Event::PeerRequest { .. }
            | Event::ChannelClosed { .. }
            | Event::ChannelMismatch { .. }
            | Event::Writable { .. }
            | Event::ConnectionQuality { .. }
            | Event::RelayConnected { .. }
            | Event::RelayDraining { .. }
            | _ => {}
        }
    }

    fn on_message(&mut self, channel: u8, data: &[u8]) {
        let Some(header) = self.tally(channel).received(data) else { return };
        if channel != UNRELIABLE {
            return;
        }
        let now = Instant::now();
        if let Some(before) = self.came.replace(now) {
            self.gap_max = self.gap_max.max(now - before);
        }
        // A stamp comes back once per message of the other; only its first return is a round trip
        // without waiting here for retransmissions, hence the unreliable channel.
        if header.echo > 0 {
            let gone = self.clock(now).saturating_sub(header.echo);
            self.round_trips.add(gone.saturating_sub(header.held));
        }
        if self.newest.is_none_or(|(stamp, _)| header.stamp > stamp) {
            self.newest = Some((header.stamp, now));
        }
    }

    fn header(&mut self, channel: u8) -> Header {
        let now = Instant::now();
        let (echo, held) = self.newest.map_or((0, 0), |(s, came)| (s, micros(now - came)));
        let stamp = self.clock(now);
        Header { number: self.tally(channel).next_number(), stamp, echo, held }
    }

    /// Microseconds since the start, never 0.
    fn clock(&self, now: Instant) -> u64 {
        micros(now - self.start) + 1
    }

    fn round_trip(&mut self) -> RoundTrip {
        let trips = &mut self.round_trips;
        RoundTrip { p50: trips.percentile_ms(50), p99: trips.percentile_ms(99) }
    }
}

fn notice(text: String) {
    say(&FromPlayer::Notice { text });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const CHANNELS: [(u8, Reliability); 2] =
    [(UNRELIABLE, Reliability::Unreliable), (RELIABLE, Reliability::Reliable)];
const TICKS_PER_S: u32 = 60;
const TICK: Duration = Duration::from_nanos(1_000_000_000 / TICKS_PER_S as u64);
/// A position, each tick, unreliable.
const POSITION_LEN: usize = 100;
/// A bit of loot, each tenth tick, reliable.
const LOOT_LEN: usize = 40;
const LOOT_EVERY: u32 = 10;
/// A piece of the level, each second, reliable and larger than a packet.
const LEVEL_LEN: usize = 8192;
const PROGRESS: Duration = Duration::from_millis(200);
/// How often standard input is looked at while nothing else happens.
const LOOK_AT_INPUT: Duration = Duration::from_millis(10);
/// How long unreliable messages may still be under way at the end.
const STRAGGLERS: Duration = Duration::from_millis(200);
/// How long the reliable channel may stand still at the end, and how long that may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_MAX: Duration = Duration::from_secs(30);

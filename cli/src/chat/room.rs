//! Everyone who is connected here, and what is said.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant;

use waylane::{DisconnectReason, Event, NetworkManager, Reliability, Route, SendError};
use waylane_core::id::SessionId;

use super::beats::Beats;
use crate::input::{Input, Next};

/// Which side of an invite this is.
pub(super) enum Role {
    /// Prints an invite and takes everyone who has it.
    Host,
    /// Has an invite.
    Guest { invite: String },
}

/// A chat over the network.
pub(super) struct Room {
    net: NetworkManager,
    guests: Guests,
    /// A line that not every queue has taken yet, and for whom it still is.
    held: Option<(String, Vec<u64>)>,
    next_beat: Instant,
    /// Standard input has closed: nothing new is said.
    leaving: Option<Instant>,
    /// Leave at once.
    is_interrupted: Arc<AtomicBool>,
}

impl Room {
    /// A room with nobody in it, left as soon as `is_interrupted`.
    pub(super) fn new(net: NetworkManager, role: Role, is_interrupted: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        let guests = Guests {
            role,
            peers: BTreeMap::new(),
            place: Vec::new(),
            whole_by: now + STANDBY_MAX,
            is_over: false,
        };
        let next_beat = now;
        Self { net, guests, held: None, next_beat, leaving: None, is_interrupted }
    }

    /// Says and hears until there is nothing more to say, or nobody to hear.
    ///
    /// # Errors
    /// When the invite cannot be used.
    pub(super) fn run(mut self) -> Result<(), String> {
        self.guests.enter(&mut self.net)?;
        let input = Input::new();
        loop {
            let guests = &mut self.guests;
            self.net.run_callbacks(|net, event| guests.on(net, event));
            let now = Instant::now();
            self.guests.invite(&mut self.net, now);
            self.read(&input, now);
            self.say_held();
            self.beat(now);
            self.net.flush();
            let is_interrupted = self.is_interrupted.load(Ordering::Relaxed);
            if is_interrupted || self.guests.is_over || self.has_left(now) {
                // Dropping the manager says goodbye.
                return Ok(());
            }
            self.net.wait(LOOK_AT_INPUT);
        }
    }

    /// Takes a line from standard input, unless one is still held: whoever writes must wait then.
    fn read(&mut self, input: &Input, now: Instant) {
        if self.held.is_some() || self.leaving.is_some() {
            return;
        }
        match input.next() {
            Next::Line(line) => match line.trim_end() {
                "" => {}
                "/stats" => self.guests.show_stats(&self.net),
                "/quit" => self.leaving = Some(now),
                line if self.guests.peers.is_empty() => {
                    notice(&format!("nobody is here to read '{line}'; it is not sent"));
                }
                line => {
                    let everyone = self.guests.peers.keys().copied().collect();
                    self.held = Some((line.to_owned(), everyone));
                }
            },
            Next::Nothing => {}
            Next::Closed => self.leaving = Some(now),
        }
    }

    /// Gives the held line to every queue that takes it.
    fn say_held(&mut self) {
        let Some((line, to)) = &mut self.held else { return };
        let net = &mut self.net;
        to.retain(|peer| match net.send_message(*peer, LINES, line.as_bytes()) {
            Ok(()) => false,
            Err(SendError::Full { .. }) => true,
            Err(error) => {
                notice(&format!("not sent to {}: {error}", name(*peer)));
                false
            }
        });
        if to.is_empty() {
            self.held = None;
        }
    }

    fn beat(&mut self, now: Instant) {
        if now < self.next_beat || self.leaving.is_some() {
            return;
        }
        self.next_beat = now + BEAT;
        for (peer, guest) in &mut self.guests.peers {
            if guest.is_here {
                // A beat that finds no room is one that did not arrive.
                let _ = self.net.send_message(*peer, BEATS, &guest.beats.next());
            }
            guest.notice_silence(*peer, now);
            guest.show_changes(&self.net, *peer, now);
        }
    }

    /// Whether, after standard input has closed, everyone has what was said, or will not have it.
    fn has_left(&self, now: Instant) -> bool {
        let Some(since) = self.leaving else { return false };
        let is_said = self.held.is_none()
            && self.guests.peers.iter().all(|(peer, guest)| {
                let queued = self.net.stats(*peer).map_or(0, |stats| stats.queued_bytes);
                guest.is_here && queued == 0
            });
        if !is_said && now - since > GOODBYE {
            notice("leaving, although not everything has arrived");
        }
        is_said || now - since > GOODBYE
    }
}

/// Everyone connected, and what to do about what happens to them.
struct Guests {
    role: Role,
    peers: BTreeMap<u64, Guest>,
    /// The sessions of the invite that was printed last.
    place: Vec<SessionId>,
    /// Until then the first invite waits to name a standby, too.
    whole_by: Instant,
    /// The host has left.
    is_over: bool,
}

struct Guest {
    is_here: bool,
    beats: Beats,
    last_heard: Instant,
    is_silent: bool,
    /// When the figures are worth another look, and what they were when shown last.
    next_look: Instant,
    shown: Option<Figures>,
}

impl Guests {
    /// A guest connects to its host.
    fn enter(&mut self, net: &mut NetworkManager) -> Result<(), String> {
        let Role::Guest { invite } = &self.role else { return Ok(()) };
        let host = net.accept_invite(invite).map_err(|e| e.to_string())?;
        self.welcome(net, host);
        Ok(())
    }

    /// Opens both channels to a peer.
    fn welcome(&mut self, net: &mut NetworkManager, peer: u64) {
        let opened = net
            .open_channel(peer, BEATS, Reliability::Unreliable)
            .and_then(|()| net.open_channel(peer, LINES, Reliability::Reliable));
        match opened {
            Ok(()) => {
                self.peers.insert(peer, Guest::new());
            }
            Err(error) => notice(&format!("no channel to {}: {error}", name(peer))),
        }
    }

    fn on(&mut self, net: &mut NetworkManager, event: Event<'_>) {
        match event {
            Event::Message { peer, channel, data } => {
                if let Some(guest) = self.peers.get_mut(&peer) {
                    guest.hear(peer, channel, data);
                }
            }
            Event::PeerRequest { peer, route } => match net.connect_peer(peer, route) {
                Ok(()) => self.welcome(net, peer),
                Err(error) => notice(&format!("{} cannot join: {error}", name(peer))),
            },
            Event::PeerConnected { peer } => {
                if let Some(guest) = self.peers.get_mut(&peer) {
                    guest.arrive();
                }
                notice(&format!("{} is here; type lines, /stats or /quit", name(peer)));
            }
            Event::PeerDisconnected { peer, reason } => self.on_disconnect(net, peer, reason),
            Event::RelayConnected { relay } => notice(&format!("relay {relay}: connected")),
            Event::RelayLost { relay, reason } => notice(&format!("relay {relay}: {reason}")),
            Event::RelayRefused { relay, reason } => notice(&format!("relay {relay}: {reason}")),
            Event::RelayDraining { relay, left } => {
                notice(&format!("relay {relay} stops in {} s", left.as_secs()));
            }
            Event::TokenExpiring { relay, left } => {
                notice(&format!("relay {relay}: the token expires in {} s", left.as_secs()));
            }
            Event::ChannelMismatch { peer, .. } => {
                notice(&format!("{} runs another version of this program", name(peer)));
            }
            // What waits for a channel or its room waits by itself.
            Event::ChannelOpened { .. } | Event::ChannelClosed { .. } => {}
            // See `invite`.
            Event::RouteUpdate { .. } => {}
            Event::Writable { .. } | Event::ConnectionQuality { .. } | _ => {}
        }
    }

    /// A host prints an invite as soon as there is one, and again when the old one leads nowhere.
    /// Who joins knows no relays but the invite's, so the first waits a little for the standby.
    fn invite(&mut self, net: &mut NetworkManager, now: Instant) {
        let (Role::Host, Some(route)) = (&self.role, net.route()) else { return };
        let place = sessions(&route);
        let is_whole = place.len() >= net.relays().count().min(2);
        if place == self.place || (self.place.is_empty() && !is_whole && now < self.whole_by) {
            return;
        }
        match net.invite() {
            Ok(invite) => {
                let is_first = self.place.is_empty();
                notice(if is_first {
                    "pass this invite on in private; the other side runs: waylane join INVITE"
                } else {
                    "this invite replaces the one before"
                });
                write(&format!("{invite}\n"));
                self.place = place;
            }
            Err(error) => notice(&format!("no invite: {error}")),
        }
    }

    fn on_disconnect(&mut self, net: &mut NetworkManager, peer: u64, reason: DisconnectReason) {
        notice(&format!("{}: {reason}", name(peer)));
        if reason == DisconnectReason::Restarted {
            // A new connection follows at once, with the same channels.
            return;
        }
        self.peers.remove(&peer);
        if let Role::Guest { .. } = self.role {
            let has_left =
                matches!(reason, DisconnectReason::Remote | DisconnectReason::RemoteShutdown);
            self.is_over = has_left;
            if !has_left && let Err(error) = self.enter(net) {
                notice(&format!("cannot connect again: {error}"));
                self.is_over = true;
            }
        }
    }

    fn show_stats(&self, net: &NetworkManager) {
        if self.peers.is_empty() {
            notice("nobody is here");
        }
        for (peer, guest) in &self.peers {
            notice(&format!("{}: {}", name(*peer), guest.figures(net, *peer)));
        }
    }
}

impl Guest {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            is_here: false,
            beats: Beats::default(),
            last_heard: now,
            is_silent: false,
            next_look: now + LOOK,
            shown: None,
        }
    }

    fn arrive(&mut self) {
        *self = Self { is_here: true, next_look: Instant::now() + FIRST_LOOK, ..Self::new() };
    }

    fn hear(&mut self, peer: u64, channel: u8, data: &[u8]) {
        self.last_heard = Instant::now();
        if core::mem::take(&mut self.is_silent) {
            notice(&format!("{} is heard again", name(peer)));
        }
        match channel {
            LINES => print(peer, data),
            BEATS => self.beats.take(data),
            _ => {}
        }
    }

    /// Beats come five times a second: silence means that something between us is gone.
    fn notice_silence(&mut self, peer: u64, now: Instant) {
        if self.is_here && !self.is_silent && now - self.last_heard > SILENCE {
            self.is_silent = true;
            notice(&format!("{} is not heard; what you type waits", name(peer)));
        }
    }

    /// Shows how the link does when it is news.
    fn show_changes(&mut self, net: &NetworkManager, peer: u64, now: Instant) {
        if !self.is_here || now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        let figures = self.figures(net, peer);
        if self.shown.is_none_or(|shown| figures.differs(&shown)) {
            notice(&format!("{}: {figures}", name(peer)));
            self.shown = Some(figures);
        }
    }

    fn figures(&self, net: &NetworkManager, peer: u64) -> Figures {
        Figures {
            round_trip: net.stats(peer).map(|stats| stats.rtt),
            lost_in: self.beats.percent_lost_in(),
            lost_out: self.beats.percent_lost_out(),
        }
    }
}

/// How a link does.
#[derive(Clone, Copy)]
struct Figures {
    round_trip: Option<Duration>,
    lost_in: Option<f64>,
    lost_out: Option<f64>,
}

impl Figures {
    /// Whether a person would call it a change.
    fn differs(&self, other: &Self) -> bool {
        let loss = |a: Option<f64>, b: Option<f64>| {
            (a.unwrap_or_default() - b.unwrap_or_default()).abs() >= 5.0
        };
        let [mine, others] =
            [self, other].map(|f| f.round_trip.unwrap_or_default().as_secs_f64() * 1000.0);
        let is_slower = (mine - others).abs() > 5.0 && (mine - others).abs() > others / 4.0;
        is_slower || loss(self.lost_in, other.lost_in) || loss(self.lost_out, other.lost_out)
    }
}

impl core::fmt::Display for Figures {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.round_trip {
            Some(time) => write!(f, "round trip {:.1} ms", time.as_secs_f64() * 1000.0)?,
            None => f.write_str("round trip unknown")?,
        }
        for (percent, way) in [(self.lost_in, "in"), (self.lost_out, "out")] {
            match percent {
                Some(percent) => write!(f, ", lost {percent:.0} % {way}")?,
                None => write!(f, ", loss {way} unknown")?,
            }
        }
        Ok(())
    }
}

fn sessions(route: &Route) -> Vec<SessionId> {
    let route = waylane_core::route::Route::decode(route.as_bytes());
    route.map(|route| route.relays().iter().map(|at| at.session).collect()).unwrap_or_default()
}

/// A peer's name for people: the end of its id, the same on both sides.
fn name(peer: u64) -> String {
    format!("player …{:04}", peer % 10_000)
}

/// Prints a line from a peer. Control characters could make a terminal do things.
fn print(peer: u64, data: &[u8]) {
    let text: String = String::from_utf8_lossy(data)
        .chars()
        .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    write(&format!("{}: {text}\n", name(peer)));
}

fn write(text: &str) {
    let mut out = stdout().lock();
    // A reader that has gone away is no reason to leave the room.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What is not said by a peer goes beside what is.
fn notice(text: &str) {
    eprintln!("* {text}");
}

const BEATS: u8 = 0;
const LINES: u8 = 1;
const BEAT: Duration = Duration::from_millis(200);
const SILENCE: Duration = Duration::from_secs(3);
const FIRST_LOOK: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_secs(10);
const LOOK_AT_INPUT: Duration = Duration::from_millis(20);
/// How long a second relay may take to be the standby; one that is away must not hold up the invite.
const STANDBY_MAX: Duration = Duration::from_secs(8);
/// How long what was said may take to arrive after standard input has closed.
const GOODBYE: Duration = Duration::from_secs(30);

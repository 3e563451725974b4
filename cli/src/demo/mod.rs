//! `waylane demo`: relays and two players as processes of their own, and what they see.

mod children;
pub(crate) mod player;
pub(crate) mod relay;
mod report;
mod screen;
mod traffic;

use core::time::Duration;
use std::time::Instant;

use waylane_core::directory::RelayEntry;

use crate::link::Link;
use children::{Children, FromPlayer, FromRelay, ToPlayer, ToRelay, Who, parse};
use report::Report;
use screen::Screen;

/// Players of other programs do not connect to the demo's.
const APPLICATION: u64 = 0x6465_6d6f;

/// What the demo is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How long the players send.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    json: bool,
    /// Use running relays instead of starting any.
    #[arg(long, value_name = "ENTRY", allow_hyphen_values = true)]
    relay: Vec<RelayEntry>,
    /// What lets the players in, for a relay that asks for it: a token for whoever shows it.
    #[arg(long, value_name = "TOKEN", value_parser = crate::player::token, allow_hyphen_values = true)]
    token: Option<waylane::Token>,
    /// How many relays to start; all are in both players' directories.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "relay", value_parser = clap::value_parser!(u8).range(1..=8))]
    relays: u8,
    /// Kill the relay in use, without a word, this many seconds after the players began to send.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["relay", "drain_after"], value_parser = clap::value_parser!(u32).range(1..))]
    kill_after: Option<u32>,
    /// Have the relay in use send its clients away, so many seconds after the players began to send.
    #[arg(long, value_name = "SECONDS", conflicts_with = "relay", value_parser = clap::value_parser!(u32).range(1..))]
    drain_after: Option<u32>,
    #[command(flatten)]
    link: Link,
}

/// Runs the demo.
///
/// # Errors
/// When a process fails, or when any reliable message did not arrive once and in order.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    options.check()?;
    let report = Demo::new(options).run()?;
    if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?;
        println!("{json}");
    }
    match report.faults() {
        faults if faults.is_empty() => Ok(()),
        faults => Err(format!("the demo found faults:\n  {}", faults.join("\n  "))),
    }
}

impl Options {
    /// What is to be done to a relay, and when.
    fn deed(&self) -> Option<(u32, Deed)> {
        let kill = self.kill_after.map(|at| (at, Deed::Kill));
        kill.or_else(|| self.drain_after.map(|at| (at, Deed::Drain)))
    }

    fn check(&self) -> Result<(), String> {
        match self.deed() {
            Some(_) if self.relays < 2 => {
                Err("with one relay nothing is left when it goes: add --relays 2".to_owned())
            }
            Some((at, _)) if at >= self.seconds => Err(format!(
                "after {at} s the players have sent for all their {} s: add --seconds {}",
                self.seconds,
                at + 3
            )),
            _ => Ok(()),
        }
    }
}

/// What happens to the relay in use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Kill,
    Drain,
}

struct Demo<'a> {
    options: &'a Options,
    children: Children,
    /// What each relay of ours has counted, and whether it is to be gone.
    relays: Vec<RelayState>,
    /// What is still to be done to the one in use.
    deed: Option<(Instant, Deed)>,
    report: Report,
    screen: Screen,
    players: [PlayerState; 2],
    last_notice: String,
}

#[derive(Default)]
struct RelayState {
    counts: report::Relay,
    /// It was sent away or killed: that it ends is no surprise.
    is_doomed: bool,
    has_ended: bool,
}

#[derive(Default)]
struct PlayerState {
    /// Relays at which it can be reached.
    reachable_at: usize,
    /// Peer id and route, as last said.
    place: Option<(u64, String)>,
    is_ready: bool,
    /// Reliable messages sent, once all are.
    sent: Option<u64>,
    is_done: bool,
}

impl<'a> Demo<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            children: Children::new(),
            relays: Vec::new(),
            deed: None,
            report: Report::default(),
            screen: Screen::new(options.json, options.seconds),
            players: Default::default(),
            last_notice: String::new(),
        }
    }

    fn run(mut self) -> Result<Report, String> {
        let mut entries: Vec<String> = self.options.relay.iter().map(ToString::to_string).collect();
        if entries.is_empty() {
            for number in 0..usize::from(self.options.relays) {
                entries.push(self.start_relay(number)?);
            }
        }
        for n in 0..2 {
            let mut arguments = vec!["demo-player".to_owned()];
            arguments.extend(self.options.token.map(|token| format!("--token={token}")));
            arguments.extend(entries.iter().map(|entry| format!("--relay={entry}")));
            arguments.extend(self.options.link.to_arguments());
            self.start(Who::Player(n), &arguments)?;
        }
        self.wait(START, "a session at the relay: is it running, and is its entry right?", |p| {
            p.place.is_some()
        })?;
        self.introduce();
        self.wait(CONNECT, "the players to connect", |p| p.is_ready)?;
        if entries.len() > 1 {
            self.wait(CONNECT, "a second relay to stand by", |p| p.reachable_at > 1)?;
        }
        let seconds = self.options.seconds;
        let started = Instant::now();
        self.screen.start(started);
        self.deed =
            self.options.deed().map(|(at, deed)| (started + Duration::from_secs(at.into()), deed));
        self.tell_each(|_, _| Some(ToPlayer::Start { seconds }));
        let sending = Duration::from_secs(seconds.into()) + START;
        self.wait(sending, "the players to send", |p| p.sent.is_some())?;
        self.tell_each(|_, other| Some(ToPlayer::Expect { reliable: other.sent? }));
        self.wait(DRAIN, "the players to receive", |p| p.is_done)?;
        for n in 0..2 {
            self.end(Who::Player(n))?;
        }
        for n in 0..self.relays.len() {
            self.end(Who::Relay(n))?;
        }
        self.report.count_losses();
        self.screen.finish(&self.report);
        Ok(core::mem::take(&mut self.report))
    }

    fn start(&mut self, who: Who, arguments: &[String]) -> Result<(), String> {
        self.children
            .start(who, arguments)
            .map_err(|e| format!("this program cannot start itself again: {e}"))
    }

    fn start_relay(&mut self, number: usize) -> Result<String, String> {
        self.start(Who::Relay(number), &["demo-relay".to_owned()])?;
        self.relays.push(RelayState::default());
        self.report.relay = Some(report::Relay::default());
        let deadline = Instant::now() + START;
        while let Some((who, line)) = self.next_line(deadline) {
            let Some(line) = line else { break };
            if who != Who::Relay(number) {
                continue;
            }
            if let FromRelay::Listening { entry } = parse(&line)? {
                return Ok(entry);
            }
        }
        Err("the relay did not start; what it said is above".to_owned())
    }

    /// Tells each player where the other is.
    fn introduce(&mut self) {
        self.tell_each(|_, other| {
            let (peer_id, route) = other.place.clone()?;
            Some(ToPlayer::Connect { peer_id, route })
        });
    }

    /// Sends each player what `order` makes of its own state and the other's.
    fn tell_each(&mut self, order: impl Fn(&PlayerState, &PlayerState) -> Option<ToPlayer>) {
        let [a, b] = &self.players;
        let orders = [order(a, b), order(b, a)];
        for (n, order) in orders.iter().enumerate() {
            if let Some(order) = order {
                self.children.tell(Who::Player(n), order);
            }
        }
    }

    /// Listens until both players are as `is_so` asks.
    fn wait(
        &mut self,
        patience: Duration,
        what: &str,
        is_so: fn(&PlayerState) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        while !self.players.iter().all(is_so) {
            self.do_deed();
            let next = self.deed.map_or(deadline, |(at, _)| at.min(deadline));
            let Some((who, line)) = self.next_line(next) else {
                if Instant::now() < deadline {
                    continue;
                }
                let notice = &self.last_notice;
                let seconds = patience.as_secs();
                return Err(format!("waited {seconds} s in vain for {what} {notice}"));
            };
            self.hear(who, line.as_deref())?;
        }
        Ok(())
    }

    /// Kills or drains the relay that player 1 uses, if it is time to.
    fn do_deed(&mut self) {
        let now = Instant::now();
        let Some((_, deed)) = self.deed.take_if(|(at, _)| *at <= now) else { return };
        let number = self.report.players[0].path.unwrap_or(1) - 1;
        let Some(relay) = self.relays.get_mut(number) else { return };
        relay.is_doomed = true;
        let who = Who::Relay(number);
        match deed {
            Deed::Kill => self.children.kill(who),
            Deed::Drain => self.children.tell(who, &ToRelay::Drain { seconds: DRAIN_SECONDS }),
        }
        let done = if deed == Deed::Kill { "killed" } else { "told to drain" };
        self.screen.tell(&format!("{who} {done}"), now);
    }

    /// The next line, or `None` at the deadline. The screen is kept up to date meanwhile.
    fn next_line(&mut self, deadline: Instant) -> Option<children::Line> {
        self.children.next(deadline.saturating_duration_since(Instant::now()))
    }

    fn hear(&mut self, who: Who, line: Option<&str>) -> Result<(), String> {
        let doomed = |n: usize| self.relays.get(n).is_some_and(|relay| relay.is_doomed);
        let Some(line) = line else {
            if let Who::Relay(n) = who
                && doomed(n)
            {
                self.relay_ended(n);
                return Ok(());
            }
            let status = self.children.collect(who).map(|s| format!(" ({s})"));
            return Err(format!("{who} ended too early{}", status.unwrap_or_default()));
        };
        match who {
            Who::Relay(n) => self.hear_relay(n, parse(line)?),
            Who::Player(n) => self.hear_player(n, parse(line)?),
        }
        Ok(())
    }

    fn hear_relay(&mut self, n: usize, message: FromRelay) {
        let (FromRelay::Progress(counts), Some(relay)) = (message, self.relays.get_mut(n)) else {
            return;
        };
        relay.counts = counts;
        let sum =
            self.relays.iter().fold(report::Relay::default(), |sum, relay| sum + &relay.counts);
        self.report.relay = Some(sum);
    }

    /// A relay that was to go has gone.
    fn relay_ended(&mut self, n: usize) {
        if let Some(relay) = self.relays.get_mut(n) {
            relay.has_ended = true;
        }
        self.screen.tell(&format!("{} has ended", Who::Relay(n)), Instant::now());
        self.children.collect(Who::Relay(n));
    }

    fn hear_player(&mut self, n: usize, message: FromPlayer) {
        let (mine, others) = (n % 2, (n + 1) % 2);
        match message {
            FromPlayer::Route { peer_id, route } => {
                let is_known = self.players[others].is_ready || self.players[mine].is_ready;
                self.players[mine].place = Some((peer_id, route.clone()));
                if is_known {
                    self.children.tell(Who::Player(others), &ToPlayer::Route { peer_id, route });
                }
            }
            FromPlayer::Ready => self.players[mine].is_ready = true,
            FromPlayer::Progress(counts) => {
                self.players[mine].reachable_at = counts.reachable_at;
                self.report.players[mine] = counts;
                self.report.count_losses();
                self.screen.show(&self.report, Instant::now());
            }
            FromPlayer::Sent { reliable } => self.players[mine].sent = Some(reliable),
            FromPlayer::Done(counts) => {
                self.report.players[mine] = counts;
                self.players[mine].is_done = true;
            }
            FromPlayer::Notice { text } => {
                self.last_notice = format!("(player {}: {text})", mine + 1);
            }
        }
    }

    /// Ends a child and hears what it still has to say.
    fn end(&mut self, who: Who) -> Result<(), String> {
        if matches!(who, Who::Relay(n) if self.relays.get(n).is_some_and(|r| r.has_ended)) {
            return Ok(());
        }
        self.children.close(who);
        let deadline = Instant::now() + END;
        while let Some((from, line)) = self.next_line(deadline) {
            match line {
                Some(line) => match from {
                    Who::Relay(n) => self.hear_relay(n, parse(&line)?),
                    // The players have reported; what comes now is about their end.
                    Who::Player(_) => {}
                },
                None if from == who => {
                    return match self.children.collect(who) {
                        Some(status) if status.success() => Ok(()),
                        Some(status) => Err(format!("{who} failed: {status}")),
                        None => Err(format!("{who} cannot be asked how it ended")),
                    };
                }
                // One that was to go may be late.
                None => self.hear(from, None)?,
            }
        }
        Err(format!("{who} does not end"))
    }
}

impl core::fmt::Display for Who {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Relay(n) => write!(f, "relay {}", n + 1),
            Self::Player(n) => write!(f, "player {}", n + 1),
        }
    }
}

const START: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(40);
const DRAIN: Duration = Duration::from_secs(40);
const END: Duration = Duration::from_secs(10);
/// How long a relay that drains gives its clients.
const DRAIN_SECONDS: u32 = 10;

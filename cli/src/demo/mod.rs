//! `waylane demo`: a relay and two players as processes of their own, and what they see.

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
use children::{Children, FromPlayer, FromRelay, ToPlayer, Who, parse};
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
    /// Use a running relay instead of starting one.
    #[arg(long, value_name = "ENTRY", allow_hyphen_values = true)]
    relay: Option<RelayEntry>,
    /// What lets the players in, for a relay that asks for it: a token for whoever shows it.
    #[arg(long, value_name = "TOKEN", value_parser = crate::player::token, allow_hyphen_values = true)]
    token: Option<waylane::Token>,
    #[command(flatten)]
    link: Link,
}

/// Runs the demo.
///
/// # Errors
/// When a process fails, or when any reliable message did not arrive once and in order.
pub(crate) fn run(options: &Options) -> Result<(), String> {
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

struct Demo<'a> {
    options: &'a Options,
    children: Children,
    report: Report,
    screen: Screen,
    players: [PlayerState; 2],
    last_notice: String,
}

#[derive(Default)]
struct PlayerState {
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
            report: Report::default(),
            screen: Screen::new(options.json, options.seconds),
            players: Default::default(),
            last_notice: String::new(),
        }
    }

    fn run(mut self) -> Result<Report, String> {
        let entry = match &self.options.relay {
            Some(entry) => entry.to_string(),
            None => self.start_relay()?,
        };
        for n in 0..2 {
            let mut arguments = vec!["demo-player".to_owned(), format!("--relay={entry}")];
            arguments.extend(self.options.token.map(|token| format!("--token={token}")));
            arguments.extend(self.options.link.to_arguments());
            self.start(Who::Player(n), &arguments)?;
        }
        self.wait(START, "a session at the relay: is it running, and is its entry right?", |p| {
            p.place.is_some()
        })?;
        self.introduce();
        self.wait(CONNECT, "the players to connect", |p| p.is_ready)?;
        let seconds = self.options.seconds;
        self.screen.start(Instant::now());
        self.tell_each(|_, _| Some(ToPlayer::Start { seconds }));
        let sending = Duration::from_secs(seconds.into()) + START;
        self.wait(sending, "the players to send", |p| p.sent.is_some())?;
        self.tell_each(|_, other| Some(ToPlayer::Expect { reliable: other.sent? }));
        self.wait(DRAIN, "the players to receive", |p| p.is_done)?;
        for who in [Who::Player(0), Who::Player(1), Who::Relay] {
            self.end(who)?;
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

    fn start_relay(&mut self) -> Result<String, String> {
        self.start(Who::Relay, &["demo-relay".to_owned()])?;
        self.report.relay = Some(report::Relay::default());
        let deadline = Instant::now() + START;
        while let Some((_, line)) = self.next_line(deadline) {
            let Some(line) = line else { break };
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
            let Some((who, line)) = self.next_line(deadline) else {
                let notice = &self.last_notice;
                let seconds = patience.as_secs();
                return Err(format!("waited {seconds} s in vain for {what} {notice}"));
            };
            self.hear(who, line.as_deref())?;
        }
        Ok(())
    }

    /// The next line, or `None` at the deadline. The screen is kept up to date meanwhile.
    fn next_line(&mut self, deadline: Instant) -> Option<children::Line> {
        let left = deadline.checked_duration_since(Instant::now())?;
        self.children.next(left)
    }

    fn hear(&mut self, who: Who, line: Option<&str>) -> Result<(), String> {
        let Some(line) = line else {
            let status = self.children.collect(who).map(|s| format!(" ({s})"));
            return Err(format!("{who} ended too early{}", status.unwrap_or_default()));
        };
        match who {
            Who::Relay => self.hear_relay(parse(line)?),
            Who::Player(n) => self.hear_player(n, parse(line)?),
        }
        Ok(())
    }

    fn hear_relay(&mut self, message: FromRelay) {
        if let FromRelay::Progress(counts) = message {
            self.report.relay = Some(counts);
        }
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
        if who == Who::Relay && self.report.relay.is_none() {
            return Ok(());
        }
        self.children.close(who);
        let deadline = Instant::now() + END;
        while let Some((from, line)) = self.next_line(deadline) {
            match line {
                Some(line) if from == Who::Relay => self.hear_relay(parse(&line)?),
                // The players have reported; what comes now is about their end.
                Some(_) => {}
                None if from == who => {
                    return match self.children.collect(who) {
                        Some(status) if status.success() => Ok(()),
                        Some(status) => Err(format!("{who} failed: {status}")),
                        None => Err(format!("{who} cannot be asked how it ended")),
                    };
                }
                None => return Err(format!("{from} ended too early")),
            }
        }
        Err(format!("{who} does not end"))
    }
}

impl core::fmt::Display for Who {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Relay => f.write_str("the relay"),
            Self::Player(n) => write!(f, "player {}", n + 1),
        }
    }
}

const START: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(40);
const DRAIN: Duration = Duration::from_secs(40);
const END: Duration = Duration::from_secs(10);

//! A scenario from a few flags: how will my game feel on such a link?

use core::error::Error;
use core::str::FromStr;
use core::time::Duration;

use waylane_sim::scenario::{
    CrossSpec, LegSpec, LinkSpec, PlayerSpec, QueueSize, Rate, Scenario, SendSpec, Span, WaySpec,
};

/// Two players and a relay; everything but time happens between the relay and the second player.
/// All is sent both ways, `--bulk` from the first to the second.
#[derive(clap::Args, Clone, PartialEq, Debug)]
pub(crate) struct Quick {
    /// Round trip from player to player (default 40).
    #[arg(long, value_name = "MS", help_heading = HEADING)]
    rtt: Option<u64>,
    /// More or less than half of that each way, at most.
    #[arg(long, value_name = "MS", help_heading = HEADING)]
    jitter: Option<u64>,
    /// Share of datagrams lost.
    #[arg(long, value_name = "PERCENT", help_heading = HEADING)]
    loss: Option<f64>,
    /// Lose them in bursts of so many, on average.
    #[arg(long, value_name = "LENGTH", requires = "loss", help_heading = HEADING)]
    burst: Option<f64>,
    /// Share of datagrams held for 20 ms, so that others overtake them.
    #[arg(long, value_name = "PERCENT", help_heading = HEADING)]
    reorder: Option<f64>,
    /// Bits per second, as 300k or 2M.
    #[arg(long, value_name = "RATE", help_heading = HEADING)]
    rate: Option<Rate>,
    /// What may wait for that, as 100ms or 64kB (default 100ms).
    #[arg(long, value_name = "SIZE", requires = "rate", help_heading = HEADING)]
    queue: Option<QueueSize>,
    /// Send unreliable messages of so many bytes so often a second (default 100@60).
    #[arg(long, value_name = "BYTES@HZ", help_heading = HEADING)]
    send: Vec<Stream>,
    /// Send reliable ones (default 40@6).
    #[arg(long, value_name = "BYTES@HZ", help_heading = HEADING)]
    send_reliable: Vec<Stream>,
    /// Send as much as goes beside them, reliably.
    #[arg(long, help_heading = HEADING)]
    bulk: bool,
    /// Let somebody's download share the way to the second player.
    #[arg(long, requires = "rate", help_heading = HEADING)]
    cubic: bool,
    /// The game calls so many times a second, in place of at every event.
    #[arg(long, help_heading = HEADING)]
    hz: Option<u32>,
    /// For how long, as 30s (default 30s).
    #[arg(long, value_name = "TIME", help_heading = HEADING)]
    duration: Option<Span>,
}

/// Messages of a size, so many a second: `100@60`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Stream {
    size: usize,
    rate: f64,
}

impl Quick {
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::nothing()
    }

    /// The scenario that the flags describe.
    pub(crate) fn scenario(&self) -> Result<Scenario, Box<dyn Error>> {
        let quarter = Duration::from_micros(self.rtt.unwrap_or(40) * 1000 / 4);
        let plain = LinkSpec { delay: Span(quarter), ..LinkSpec::default() };
        let jitter = Duration::from_millis(self.jitter.unwrap_or(0));
        let loss = self.loss.unwrap_or(0.0);
        let bursts = self.burst.is_some();
        let reorder = self.reorder.unwrap_or(0.0);
        let held = if reorder > 0.0 { Span::from_millis(20) } else { Span::default() };
        let rough = LinkSpec {
            delay: Span(quarter.saturating_sub(jitter)),
            jitter: Span(jitter * 2),
            loss: if bursts { 0.0 } else { loss },
            burst_loss: if bursts { loss } else { 0.0 },
            burst_length: self.burst.unwrap_or(0.0),
            reorder,
            held,
            held_least: held,
            rate: self.rate,
            queue: self.queue,
            ..LinkSpec::default()
        };
        let way_back = Span(quarter * 3);
        let cross = CrossSpec {
            player: 1,
            relay: 0,
            way: WaySpec::Down,
            returns: way_back,
            start: Span::default(),
        };
        let player = PlayerSpec { hz: self.hz, ..PlayerSpec::default() };
        let scenario = Scenario {
            seed: 1,
            duration: self.duration.unwrap_or(Span::from_secs(30)),
            settle: Span::from_secs(30),
            relays: 1,
            relay_rate: None,
            link: plain,
            player: vec![player.clone(), player],
            leg: vec![LegSpec { player: 1, relay: None, way: None, link: rough }],
            send: self.sends(),
            fault: Vec::new(),
            cross: self.cubic.then_some(cross).into_iter().collect(),
        };
        scenario.check()?;
        Ok(scenario)
    }

    fn sends(&self) -> Vec<SendSpec> {
        let mut streams: Vec<_> = self.send.iter().map(|stream| (false, *stream)).collect();
        streams.extend(self.send_reliable.iter().map(|stream| (true, *stream)));
        if streams.is_empty() {
            streams.push((false, Stream { size: 100, rate: 60.0 }));
            streams.push((true, Stream { size: 40, rate: 6.0 }));
        }
        let mut sends = Vec::new();
        for (channel, (reliable, stream)) in (0..).zip(streams) {
            for (from, to) in [(0, 1), (1, 0)] {
                let rate = Some(stream.rate);
                sends.push(SendSpec { rate, ..send(from, to, channel, reliable, stream.size) });
            }
        }
        if self.bulk {
            sends.push(send(0, 1, 200, true, 16 * 1024));
        }
        sends
    }

    const fn nothing() -> Self {
        Self {
            rtt: None,
            jitter: None,
            loss: None,
            burst: None,
            reorder: None,
            rate: None,
            queue: None,
            send: Vec::new(),
            send_reliable: Vec::new(),
            bulk: false,
            cubic: false,
            hz: None,
            duration: None,
        }
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@');
        let parts = parts.and_then(|(size, rate)| Some((size.parse().ok()?, rate.parse().ok()?)));
        let (size, rate) = parts.ok_or("bytes and times a second, as 100@60")?;
        Ok(Self { size, rate })
    }
}

fn send(from: usize, to: usize, channel: u8, reliable: bool, size: usize) -> SendSpec {
    SendSpec {
        from,
        to,
        channel,
        reliable,
        ordered: None,
        size,
        rate: None,
        count: None,
        start: Span::default(),
        end: None,
    }
}

const HEADING: &str = "A link and what is sent over it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_scenario() {
        let stream = |text: &str| text.parse::<Stream>().unwrap();
        let options = Quick {
            rtt: Some(60),
            loss: Some(8.0),
            burst: Some(4.0),
            rate: Some(Rate(2_000_000)),
            send: vec![stream("100@60")],
            send_reliable: vec![stream("40@6")],
            bulk: true,
            ..Quick::nothing()
        };
        let scenario = options.scenario().unwrap();
        assert_eq!(scenario.send.len(), 5);
        let link = scenario.leg[0].link;
        assert_eq!((link.loss, link.burst_loss, link.burst_length), (0.0, 8.0, 4.0));
        assert_eq!(
            (scenario.link.delay, link.delay),
            (Span::from_millis(15), Span::from_millis(15))
        );
        assert!(options.is_given() && !Quick::nothing().is_given());
        for bad in ["100", "@60", "100@", "a@b"] {
            assert!(bad.parse::<Stream>().is_err(), "{bad}");
        }
        let refused = Quick { send: vec![stream("5@60")], ..Quick::nothing() };
        assert!(refused.scenario().is_err(), "too small to be told apart");
    }
}

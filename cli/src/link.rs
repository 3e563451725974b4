//! The options that make a link bad on purpose.

use core::time::Duration;

use waylane::LinkEmulation;

/// A link to try things out on; every datagram is treated by itself.
#[derive(clap::Args, Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Link {
    /// Lose this share of datagrams.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    loss: f64,
    /// Make every datagram take this much longer.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = millis())]
    delay: u64,
    /// Make it take up to this much longer still, drawn anew for each.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = millis())]
    jitter: u64,
    /// Deliver this share of datagrams twice.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    duplicate: f64,
    /// Hold this share of datagrams back, so that later ones overtake them.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    reorder: f64,
}

impl Link {
    /// The link for the client; `None` if nothing was asked for. What happens to which datagram
    /// is drawn anew at each start and for each `direction`.
    pub(crate) fn emulation(&self, direction: u64) -> Option<LinkEmulation> {
        if *self == Self::default() {
            return None;
        }
        Some(LinkEmulation {
            loss: self.loss,
            duplicate: self.duplicate,
            reorder: self.reorder,
            delay: Duration::from_millis(self.delay),
            jitter: Duration::from_millis(self.jitter),
            seed: start_seed().wrapping_add(direction),
        })
    }

    /// As arguments, for a child process.
    pub(crate) fn to_arguments(self) -> [String; 5] {
        [
            format!("--loss={}", self.loss),
            format!("--delay={}", self.delay),
            format!("--jitter={}", self.jitter),
            format!("--duplicate={}", self.duplicate),
            format!("--reorder={}", self.reorder),
        ]
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>();
    number
        .ok()
        .filter(|n| (0.0..=100.0).contains(n))
        .ok_or_else(|| "a percentage is a number from 0 to 100".to_owned())
}

fn millis() -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(0..=60_000)
}

fn start_seed() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Processes started in the same instant differ by their ids.
    u64::from(since.subsec_nanos()) ^ (u64::from(std::process::id()) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_checked() {
        assert_eq!(percent("20"), Ok(20.0));
        assert_eq!(percent("0.5%"), Ok(0.5));
        for bad in ["-1", "101", "much", "", "NaN"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_perfect_link_is_none() {
        assert_eq!(Link::default().emulation(0), None);
        let link = Link { loss: 20.0, delay: 30, ..Link::default() };
        let emulation = link.emulation(0).unwrap();
        assert_eq!(emulation.loss, 20.0);
        assert_eq!(emulation.delay, Duration::from_millis(30));
        assert_eq!(link.emulation(1).unwrap().loss, 20.0);
    }
}

//! Spans of time, rates and sizes as people write them.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use waylane_core::time::micros;

use super::ScenarioError;

/// A span of time: `"250us"`, `"40ms"`, `"2.5s"`, `"1min"`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// Bits per second: `"300k"`, `"2M"`, `"2.5M"`, `"1G"`, `"9600"`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(pub u64);

/// The longest a queue grows: a span of time or bytes, as `"64kB"`, `"1500B"`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(try_from = "String", into = "String")]
pub enum QueueSize {
    /// What is sent in this time.
    Time(Span),
    /// This many bytes.
    Bytes(u64),
}

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl FromStr for Span {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let units = [("us", 1e-6), ("ms", 1e-3), ("min", 60.0), ("s", 1.0)];
        let seconds = number(text, &units).filter(|seconds| *seconds <= SPAN_MAX);
        let micros = seconds.map(|seconds| (seconds * 1e6).round() as u64);
        micros.map(|micros| Self(Duration::from_micros(micros))).ok_or_else(|| {
            ScenarioError(format!("{text:?} is not a span of time like \"40ms\" or \"2.5s\""))
        })
    }
}

impl FromStr for Rate {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let rate = number(text, &[("k", 1e3), ("M", 1e6), ("G", 1e9), ("", 1.0)]);
        let rate = rate.map(|rate| rate.round() as u64).filter(|rate| *rate > 0);
        rate.map(Self).ok_or_else(|| {
            ScenarioError(format!("{text:?} is not a rate in bit/s like \"300k\" or \"2.5M\""))
        })
    }
}

impl FromStr for QueueSize {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Time(span));
        }
        let bytes = number(text, &[("kB", 1e3), ("MB", 1e6), ("B", 1.0)]);
        bytes.map(|bytes| Self::Bytes(bytes.round() as u64)).ok_or_else(|| {
            ScenarioError(format!("{text:?} is not a queue like \"100ms\" or \"64kB\""))
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = micros(self.0);
        if micros.is_multiple_of(1_000_000) {
            write!(f, "{}s", micros / 1_000_000)
        } else if micros.is_multiple_of(1000) {
            write!(f, "{}ms", micros / 1000)
        } else {
            write!(f, "{micros}us")
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000_000) {
            write!(f, "{}M", self.0 / 1_000_000)
        } else if self.0.is_multiple_of(1000) {
            write!(f, "{}k", self.0 / 1000)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl fmt::Display for QueueSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => span.fmt(f),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

macro_rules! as_text {
    ($($unit:ty),+) => {$(
        impl TryFrom<String> for $unit {
            type Error = ScenarioError;

            fn try_from(text: String) -> Result<Self, ScenarioError> {
                text.parse()
            }
        }

        impl From<$unit> for String {
            fn from(unit: $unit) -> Self {
                unit.to_string()
            }
        }
    )+};
}

as_text!(Span, Rate, QueueSize);

/// A number above or equal to zero with the first of these units that fits, times what it stands
/// for.
fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.trim().parse::<f64>().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number * factor)
    })
}

/// A day, in seconds.
const SPAN_MAX: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written() {
        for (text, micros) in [
            ("0s", 0),
            ("250us", 250),
            ("40ms", 40_000),
            ("2500ms", 2_500_000),
            ("90s", 90_000_000),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0, Duration::from_micros(micros));
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("1.5min".parse(), Ok(Span::from_secs(90)));
        assert_eq!("2.5M".parse(), Ok(Rate(2_500_000)));
        assert_eq!(Rate(2_500_000).to_string(), "2500k");
        assert_eq!("64kB".parse(), Ok(QueueSize::Bytes(64_000)));
        assert_eq!("100ms".parse(), Ok(QueueSize::Time(Span::from_millis(100))));
        for bad in ["", "s", "-1s", "NaNs", "1e99s", "3 parsecs"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
            assert!(bad.parse::<QueueSize>().is_err(), "{bad}");
        }
    }
}

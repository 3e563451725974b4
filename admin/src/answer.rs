//! What is answered under which path.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use waylane_relay::{RelayHandle, RelayState};

use crate::metrics::metrics;
use crate::openmetrics::Format;
use crate::pulse::Pulse;

/// All that a relay's admin port has.
pub(crate) struct Site {
    relay: RelayHandle,
    since: Instant,
    pulse: Mutex<Pulse>,
}

/// One answer.
pub(crate) struct Answer {
    status: u16,
    content_type: &'static str,
    pub(crate) body: String,
}

impl Site {
    pub(crate) fn new(relay: RelayHandle) -> Self {
        Self { relay, since: Instant::now(), pulse: Mutex::default() }
    }

    pub(crate) fn answer(&self, path: &str, format: Format) -> Answer {
        match path {
            "/" => Answer { status: 200, content_type: HTML, body: PAGE.to_owned() },
            "/metrics" => {
                let body = metrics(&self.relay, self.since.elapsed(), format);
                let content_type = match format {
                    Format::OpenMetrics => OPENMETRICS,
                    Format::Prometheus => PROMETHEUS,
                };
                Answer { status: 200, content_type, body }
            }
            "/live" if self.beats() => Answer::text(200, "live\n"),
            "/live" => Answer::text(503, "a thread of the relay stands still\n"),
            "/ready" => match self.relay.state() {
                RelayState::Serving => Answer::text(200, "ready\n"),
                RelayState::Starting => Answer::text(503, "starting\n"),
                RelayState::Draining => Answer::text(503, "draining\n"),
                RelayState::Stopped => Answer::text(503, "stopped\n"),
            },
            "/version" => {
                let version = env!("CARGO_PKG_VERSION");
                let body = format!("{{\"name\":\"waylane\",\"version\":\"{version}\"}}\n");
                Answer { status: 200, content_type: JSON, body }
            }
            _ => Answer::text(404, "there are /, /live, /ready, /version and /metrics\n"),
        }
    }

    fn beats(&self) -> bool {
        let mut pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        pulse.beats(Instant::now(), self.relay.state(), &self.relay.turns())
    }
}

impl Answer {
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
    }

    /// All that comes before the body.
    pub(crate) fn head(&self) -> String {
        let Self { status, content_type, body } = self;
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let len = body.len();
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\
             {allow}{HEADERS}\r\n"
        )
    }
}

const PAGE: &str = include_str!("page.html");
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The page may ask its own origin for metrics and nobody for anything else; nobody may frame it.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; connect-src 'self'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
form-action 'none'; frame-ancestors 'none'\r\n\
X-Content-Type-Options: nosniff\r\n\
Referrer-Policy: no-referrer\r\n\
Cache-Control: no-store\r\n\
Connection: close\r\n";

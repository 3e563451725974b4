//! A relay of the demo, in a process of its own.

use core::net::SocketAddr;
use core::time::Duration;

use waylane_relay::{Config, RelayCounters};

use super::children::{FromRelay, ToRelay, parse, say};
use super::report::Relay as Report;
use crate::input::{Input, Next};

/// Relays until standard input closes, or until it has drained.
///
/// # Errors
/// When the relay cannot be started or go on.
pub(crate) fn run() -> Result<(), String> {
    let mut config = Config::dev();
    // Any free port, and another key each time: nobody else has this relay's entry.
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let mut relay = crate::relay::start(&config).map_err(|failure| failure.why)?;
    say(&FromRelay::Listening { entry: relay.entry().to_string() });
    let handle = relay.handle();
    let worker = std::thread::spawn(move || relay.run().map(|()| relay.counters()));
    let input = Input::new();
    while !worker.is_finished() {
        match input.wait(PROGRESS) {
            Next::Closed => break,
            Next::Line(line) => {
                let ToRelay::Drain { seconds } = parse(&line)?;
                handle.drain(Duration::from_secs(seconds.into()));
            }
            Next::Nothing => say(&FromRelay::Progress(report(&handle.counters()))),
        }
    }
    handle.stop();
    match worker.join() {
        Ok(Ok(counters)) => say(&FromRelay::Progress(report(&counters))),
        Ok(Err(error)) => return Err(format!("the relay cannot go on: {error}")),
        Err(_) => return Err("the relay has stopped; what it said is above".to_owned()),
    }
    Ok(())
}

fn report(counters: &RelayCounters) -> Report {
    let dropped = counters.drops().map(|(reason, count)| (reason.to_owned(), count));
    Report { forwarded: counters.forwarded(), dropped: dropped.collect() }
}

const PROGRESS: Duration = Duration::from_millis(200);

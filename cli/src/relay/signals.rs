//! What the system tells a running relay: to stop, to stop now, to read its settings again.

use waylane_relay::{Config, RelayHandle};

use super::service;

/// Follows signals from now on: the first SIGTERM or SIGINT drains, a second one stops at once;
/// SIGHUP reads the settings again by `settings`, if there is one.
///
/// # Errors
/// The system's, when it does not let them be caught.
#[cfg(unix)]
pub(super) fn follow(
    relay: RelayHandle,
    settings: Option<impl Fn() -> Result<Config, String> + Send + 'static>,
) -> Result<(), String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let refused = |error| format!("signals cannot be caught: {error}");
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(refused)?;
    if settings.is_some() {
        signals.add_signal(SIGHUP).map_err(refused)?;
    }
    let follow = move || {
        let mut stopping = Stopping::new(relay.clone());
        for signal in &mut signals {
            match (signal, &settings) {
                (SIGHUP, Some(settings)) => reload(&relay, settings),
                _ => stopping.signal(),
            }
        }
    };
    spawn(follow)
}

/// Follows what asks for the end: the first drains, a second one stops at once.
///
/// # Errors
/// The system's, when it does not let it be caught.
#[cfg(not(unix))]
pub(super) fn follow(
    relay: RelayHandle,
    _: Option<impl Fn() -> Result<Config, String> + Send + 'static>,
) -> Result<(), String> {
    let mut stopping = Stopping::new(relay);
    ctrlc::set_handler(move || stopping.signal())
        .map_err(|error| format!("Ctrl-C cannot be caught: {error}"))
}

struct Stopping {
    relay: RelayHandle,
    told: bool,
}

impl Stopping {
    fn new(relay: RelayHandle) -> Self {
        Self { relay, told: false }
    }

    fn signal(&mut self) {
        if core::mem::replace(&mut self.told, true) {
            eprintln!("* stopping now");
            self.relay.stop();
            return;
        }
        let left = self.relay.drain_timeout();
        service::stopping(left);
        if !left.is_zero() {
            eprintln!(
                "* stopping when nobody is left, in {} s at the latest; once more to stop now",
                left.as_secs()
            );
        }
        self.relay.drain(left);
    }
}

#[cfg(unix)]
fn reload(relay: &RelayHandle, settings: &impl Fn() -> Result<Config, String>) {
    service::reloading();
    match settings().and_then(|config| relay.reload(&config).map_err(|error| error.to_string())) {
        Ok(kept) if kept.is_empty() => {}
        Ok(kept) => tracing::warn!("changed at the next start only: {}", kept.join(", ")),
        Err(why) => tracing::error!("settings stay what they were: {why}"),
    }
    service::ready();
}

#[cfg(unix)]
fn spawn(follow: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(follow);
    thread.map(drop).map_err(|error| format!("there are no more threads: {error}"))
}

//! What the system tells a running relay: to stop, to stop now, to read its settings again.

use waylane_relay::{Config, RelayHandle};

#[cfg(unix)]
use super::options::APART;
use super::{log, service};

/// Follows signals from now on: the first SIGTERM or SIGINT drains, a second one stops at once;
/// SIGHUP reads the settings again by `settings`, if there is one; SIGUSR2 starts the program that
/// stands where this one was started from, for it to take over.
///
/// # Errors
/// The system's, when it does not let them be caught.
#[cfg(unix)]
pub(super) fn follow(
    relay: RelayHandle,
    settings: Option<impl Fn() -> Result<Config, String> + Send + 'static>,
) -> Result<(), String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
    use signal_hook::iterator::Signals;

    let refused = |error| format!("signals cannot be caught: {error}");
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2]).map_err(refused)?;
    if settings.is_some() {
        signals.add_signal(SIGHUP).map_err(refused)?;
    }
    let follow = move || {
        let mut stopping = Stopping::new(relay.clone());
        for signal in &mut signals {
            match (signal, &settings) {
                (SIGHUP, Some(settings)) => reload(&relay, settings),
                (SIGUSR2, _) => upgrade(&relay),
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
            log::say(format_args!("stopping now"));
            self.relay.stop();
            return;
        }
        let left = self.relay.drain_timeout();
        service::stopping(left);
        if !left.is_zero() {
            log::say(format_args!(
                "stopping when nobody is left, in {} s at the latest; once more to stop now",
                left.as_secs()
            ));
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

/// Starts the next relay, by the same command line.
#[cfg(unix)]
fn upgrade(relay: &RelayHandle) {
    if !relay.hands_over() {
        tracing::error!("no upgrade: set handover_socket, and start the relay again");
        return;
    }
    let started = program().and_then(|program| {
        let mut command = std::process::Command::new(program);
        command.args(std::env::args_os().skip(1)).arg(format!("--{APART}")).status()
    });
    match started {
        Ok(status) if status.success() => tracing::info!("the next relay starts"),
        Ok(status) => tracing::error!("no upgrade: the next relay cannot be started: {status}"),
        Err(error) => tracing::error!("no upgrade: the next relay cannot be started: {error}"),
    }
}

/// Starts the relay of this command line as the first process's child, not as a running relay's: of
/// a main process that is not its own child systemd learns no end, and at a stop it kills that one
/// at once in place of waiting until it has drained.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub(super) fn start_apart() -> Result<(), String> {
    let own = format!("--{APART}");
    let started = program().and_then(|program| {
        let mut command = std::process::Command::new(program);
        command.args(std::env::args_os().skip(1).filter(|argument| *argument != *own));
        // It feeds the watchdog in place of the process that was told to.
        command.env_remove("WATCHDOG_PID").spawn()
    });
    started.map(drop).map_err(|error| format!("the next relay cannot be started: {error}"))
}

/// The program as it is now: on Linux the name of a file that was replaced has a mark at its end.
#[cfg(unix)]
fn program() -> std::io::Result<std::path::PathBuf> {
    let path = std::env::current_exe()?;
    Ok(match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(replaced) => replaced.into(),
        None => path,
    })
}

#[cfg(unix)]
fn spawn(follow: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(follow);
    thread.map(drop).map_err(|error| format!("there are no more threads: {error}"))
}

//! What the service manager (systemd) is told: that the relay is ready, that it lives, that it
//! stops. Without one, or on another system, nothing is said.

use core::time::Duration;

use waylane_relay::RelayHandle;

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// It serves, or goes on to. The process that takes over is the service's main one from then on.
pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// It reads its settings again.
#[cfg(unix)]
pub(super) fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// It stops, and needs so long for it.
pub(super) fn stopping(left: Duration) {
    #[cfg(target_os = "linux")]
    {
        let micros = u32::try_from((left + MARGIN).as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = left;
}

/// Keeps the manager's watchdog quiet as long as every thread of the relay takes its turns.
pub(super) fn watch(relay: RelayHandle) {
    #[cfg(target_os = "linux")]
    if let Some(limit) = sd_notify::watchdog_enabled() {
        let watch = move || beat(&relay, limit / 3);
        if let Err(error) = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch) {
            tracing::error!("the watchdog is not served: {error}");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = relay;
}

#[cfg(target_os = "linux")]
fn beat(relay: &RelayHandle, pause: Duration) {
    let mut before = Vec::new();
    loop {
        let turns = relay.turns();
        let alive = |(now, before): (&u64, &u64)| now != before;
        if before.is_empty() || turns.iter().zip(&before).all(alive) {
            tell(&[NotifyState::Watchdog]);
            before = turns;
        }
        std::thread::park_timeout(pause);
    }
}

#[cfg(target_os = "linux")]
fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// For the last words after the time is over.
#[cfg(target_os = "linux")]
const MARGIN: Duration = Duration::from_secs(10);

//! A whole relay: key, sockets, worker, clock.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use waylane_core::directory::{RelayEntry, RelayEntryError};
use waylane_core::noise::KeyPair;
use waylane_core::time::Instant;
use waylane_crypto::ring::Ring;

use crate::config::{Config, ConfigError, Mode};
use crate::counters::RelayCounters;
use crate::io::{BindError, Udp};
use crate::key_file::{self, KeyFileError};
use crate::worker::Worker;

/// A relay over UDP sockets, in one thread.
pub struct Relay {
    worker: Worker<Udp, Ring>,
    entry: RelayEntry,
    shared: Arc<Shared>,
    clock: Clock,
}

impl Relay {
    /// Checks the settings, finds the key, binds the sockets. Clients can send from now on; what
    /// they send waits until [`run`](Self::run).
    ///
    /// # Errors
    /// [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let mut crypto = Ring::new();
        let key = match &config.key_file {
            Some(path) => KeyPair::from_secret::<Ring>(
                key_file::load_or_generate(path).map_err(StartError::Key)?,
            ),
            None => KeyPair::generate(&mut crypto),
        };
        let io =
            Udp::bind(&config.listen, config.socket_buffer as usize).map_err(StartError::Bind)?;
        let reached =
            if config.announce.is_empty() { io.local_addresses() } else { &config.announce };
        let entry =
            RelayEntry::new(*key.public(), reached, &config.region).map_err(StartError::Entry)?;
        let clock = Clock::start();
        let core = config.core(clock.unix_seconds);
        let worker = Worker::new(clock.now(), &core, key.secret().clone(), crypto, io)
            .map_err(|error| StartError::Config(ConfigError::Limits(error)))?;
        match config.mode {
            Mode::Dev => tracing::warn!("open to everybody on this machine: for development only"),
            Mode::Open => tracing::info!("open to everybody who reaches it"),
        }
        Ok(Self { worker, entry, shared: Arc::default(), clock })
    }

    /// The addresses it listens on, with the ports the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.worker.io().local_addresses()
    }

    /// What to put into players' directories.
    #[must_use]
    pub const fn entry(&self) -> &RelayEntry {
        &self.entry
    }

    /// A handle to watch, drain and stop it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> RelayHandle {
        RelayHandle { shared: Arc::clone(&self.shared) }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        self.worker.counters()
    }

    /// Relays until a handle stops it, or until it has drained. It can be run again.
    ///
    /// # Errors
    /// The sockets', when they can receive no more.
    pub fn run(&mut self) -> io::Result<()> {
        let clock = self.clock;
        let mut end = Instant::FAR;
        while !self.shared.stop.swap(false, Ordering::Relaxed) {
            let now = clock.now();
            if now >= end {
                tracing::info!("drained");
                return Ok(());
            }
            if let Some(left) = self.shared.take_drain() {
                tracing::info!(seconds = left.as_secs(), "draining");
                self.worker.drain(now, left);
                end = now + left;
            }
            let wait = self.worker.deadline().min(end).since(now).min(WAIT_MAX);
            self.worker.turn(wait, || clock.now())?;
            self.shared.publish(self.worker.counters());
        }
        Ok(())
    }
}

/// Watches, drains and stops a [`Relay`] from another thread.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    shared: Arc<Shared>,
}

impl RelayHandle {
    /// Makes [`Relay::run`] return within a tenth of a second.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Tells every peer that the relay stops in `left`, takes no new ones, and then stops.
    pub fn drain(&self, left: Duration) {
        *self.shared.drain.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
    }

    /// What happened so far, as of the relay's latest turn.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        *self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a relay does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Its settings do not serve.
    Config(ConfigError),
    /// It has no key.
    Key(KeyFileError),
    /// It cannot listen.
    Bind(BindError),
    /// `announce`, `listen` or `region` make no directory entry.
    Entry(RelayEntryError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Entry(error) => write!(f, "announce, listen or region: {error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// What the handles and the running relay share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    drain: Mutex<Option<Duration>>,
    counters: Mutex<RelayCounters>,
}

impl Shared {
    fn take_drain(&self) -> Option<Duration> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn publish(&self, counters: RelayCounters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }
}

/// The process's clock as core wants it, and the wall clock when it started.
#[derive(Clone, Copy)]
struct Clock {
    start: std::time::Instant,
    unix_seconds: u64,
}

impl Clock {
    fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: std::time::Instant::now(), unix_seconds: unix.as_secs() }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }
}

/// How soon a stop is noticed when nothing comes.
const WAIT_MAX: Duration = Duration::from_millis(100);

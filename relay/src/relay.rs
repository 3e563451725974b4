//! A whole relay: key, sockets, threads, clock.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use waylane_core::directory::{RelayEntry, RelayEntryError};
use waylane_core::id::PublicKey;
use waylane_core::noise::KeyPair;
use waylane_core::time::Instant;
use waylane_crypto::ring::Ring;

use crate::config::{Config, ConfigError, IoChoice, Mode};
use crate::counters::{Published, RelayCounters};
use crate::directory;
use crate::fast_path::FastPath;
use crate::handover::{self, Door, Predecessor, Successor};
use crate::io::{BindError, Io, Sockets, Udp, Waker, open};
use crate::key_file::{self, KeyFileError};
use crate::owner::{Owner, OwnerCounters};
use crate::state::{About, RelayState};
use crate::tables::SharedTables;
use crate::worker::Worker;

/// A relay: the owner of its sessions, and workers that forward, each in a thread of its own.
pub struct Relay {
    owner: Owner<Ring>,
    workers: Vec<Worker<Box<dyn Io + Send>>>,
    on_thread: fn(usize),
    entry: RelayEntry,
    local: Vec<SocketAddr>,
    shared: Arc<Shared>,
    clock: Clock,
    handover: Handover,
}

/// How a relay takes another one's place, and gives its own.
struct Handover {
    path: Option<PathBuf>,
    door: Option<Door>,
    predecessor: Option<Predecessor>,
    /// Second handles on every worker's.
    sockets: Vec<Vec<UdpSocket>>,
}

/// The sockets of the relay whose place is taken, for each of its workers one of each family:
/// these are to be used in place of new ones.
pub type Inherited = Option<Vec<Vec<UdpSocket>>>;

/// What a relay stands on.
pub struct BackEnd {
    /// One for each worker, all bound to the same addresses.
    pub workers: Vec<Box<dyn Io + Send>>,
    /// Run with each worker's number, on its thread, before it starts.
    pub on_thread: fn(usize),
    /// By what the owner of the sessions sends.
    pub outlet: Sockets,
    /// Of the sizes that [`Config::limits`] tells.
    pub tables: SharedTables,
    /// What forwards by `tables` below the sockets, if there is such a thing.
    pub fast_path: Option<Box<dyn FastPath>>,
}

impl Relay {
    /// A relay over the portable back end, with one worker. Checks the settings, finds the key,
    /// binds the sockets: clients can send from now on, and what they send waits until
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        Self::over(config, BackEnd::portable)
    }

    /// As [`bind`](Self::bind), over what `back_end` makes of the settings once they are checked,
    /// and of the sockets of the relay whose place this one takes, if one waits at
    /// [`Config::handover_socket`]: that one goes on until [`run`](Self::run).
    ///
    /// # Errors
    /// [`StartError`].
    pub fn over(
        config: &Config,
        back_end: impl FnOnce(&Config, Inherited) -> Result<BackEnd, StartError>,
    ) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let mut crypto = Ring::new();
        let key = match &config.key_file {
            Some(path) => KeyPair::from_secret::<Ring>(
                key_file::load_or_generate(path).map_err(StartError::Key)?,
            ),
            None => KeyPair::generate(&mut crypto),
        };
        let mut predecessor = match &config.handover_socket {
            Some(path) => Predecessor::ask(path, key.public(), handover::FORMAT)
                .map_err(StartError::Handover)?,
            None => None,
        };
        let inherited = predecessor.as_mut().map(Predecessor::take_sockets);
        let BackEnd { workers, on_thread, mut outlet, tables, fast_path } =
            back_end(config, inherited)?;
        let local = outlet.local_addresses();
        let sockets = outlet.take_all();
        let reached = if config.announce.is_empty() { &local } else { &config.announce };
        let entry =
            RelayEntry::new(*key.public(), reached, &config.region).map_err(StartError::Entry)?;
        // One clock for both, so that cookies stay good.
        let clock = Clock::start(predecessor.as_ref().map_or(Instant::ZERO, |before| before.now));
        let core = config.core(clock.unix_seconds).map_err(StartError::Config)?;
        let (secret, outlet) = (key.secret().clone(), Box::new(outlet));
        let mut owner = Owner::new(clock.now(), &core, secret, crypto, tables, outlet)
            .map_err(|error| StartError::Config(ConfigError::from(error)))?;
        owner.log_addresses(config.log_addresses);
        let directory = config.directory().map_err(StartError::Config)?;
        set_directory(&mut owner, directory.as_ref(), key.public());
        if let Some(predecessor) = &mut predecessor {
            let sessions = predecessor.take_sessions(clock.now(), &mut owner);
            say_taken(sessions.map_err(StartError::Handover)?);
        }
        let door = match &config.handover_socket {
            Some(path) if predecessor.is_none() => {
                Some(Door::open(path).map_err(StartError::Handover)?)
            }
            _ => None,
        };
        let workers: Vec<_> = workers.into_iter().map(|io| Worker::new(&owner, io)).collect();
        match config.mode {
            Mode::Dev => tracing::warn!("open to everybody on this machine: for development only"),
            Mode::Token => tracing::info!("open to who shows a token"),
            Mode::Open => tracing::info!("open to everybody who reaches it"),
        }
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            state: AtomicU8::new(RelayState::Starting as u8),
            about: About::of(config, &entry, workers.len(), &local),
            drain: Mutex::default(),
            config: Mutex::new(config.clone()),
            changed: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            owner: Mutex::default(),
            workers: workers.iter().map(Worker::published).collect(),
            waker: owner.waker(),
            fast_path,
        });
        let handover =
            Handover { path: config.handover_socket.clone(), door, predecessor, sockets };
        Ok(Self { owner, workers, on_thread, entry, local, shared, clock, handover })
    }

    /// The addresses it listens on, with the ports the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Whether another relay serves until this one is [run](Self::run).
    #[must_use]
    pub const fn takes_over(&self) -> bool {
        self.handover.predecessor.is_some()
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
        self.shared.publish(self.owner.counters());
        self.shared.counters()
    }

    /// Relays until a handle stops it, until it has drained, or until another relay has taken its
    /// place: the owner of the sessions on this
    /// thread, each worker on one of its own. It can be run again.
    ///
    /// # Errors
    /// The sockets', when they can receive no more, or the system's, when it has no more threads.
    pub fn run(&mut self) -> io::Result<()> {
        self.take_over()?;
        let halt = AtomicBool::new(false);
        let mut successor = None;
        let wakers: Vec<Waker> = self.workers.iter().map(Worker::waker).collect();
        let team = Team { halt: &halt, shared: &self.shared, clock: self.clock };
        let (workers, owner) = (&mut self.workers, &mut self.owner);
        team.begin_fast_path(owner);
        let (handover, key) = (&mut self.handover, self.entry.public_key());
        let result = thread::scope(|scope| {
            let threads: Vec<_> = (workers.iter_mut().enumerate())
                .map(|(number, worker)| team.spawn(scope, number, worker, self.on_thread))
                .collect();
            if threads.iter().all(Result::is_ok) {
                self.shared.begins_to_serve();
                successor = team.own(owner, handover, key);
            }
            if let Some(fast_path) = &self.shared.fast_path {
                fast_path.end();
            }
            self.shared.set(RelayState::Stopped);
            halt.store(true, Ordering::Relaxed);
            wakers.iter().for_each(Waker::wake);
            // Every thread is waited for, whatever another one says.
            let ended: Vec<_> = threads.into_iter().map(|thread| ended(thread?)).collect();
            ended.into_iter().collect()
        });
        self.shared.stop.store(false, Ordering::Relaxed);
        if let Some(successor) = successor {
            let sessions = successor.sessions;
            successor.finish(self.owner.take_letters())?;
            tracing::info!(sessions, "another relay has taken the place of this one");
        }
        // What the workers handed over last is answered too, so that the counters add up.
        let clock = self.clock;
        while self.owner.turn(Duration::ZERO, || clock.now()) > 0 {}
        self.shared.publish(self.owner.counters());
        result
    }
}

impl Relay {
    /// Has the relay before stop, and opens the door for the one after.
    fn take_over(&mut self) -> io::Result<()> {
        let Some(predecessor) = self.handover.predecessor.take() else { return Ok(()) };
        // Before the other one's door closes: whoever comes then finds one of the two.
        self.handover.open_door();
        for (from, bytes) in predecessor.go()? {
            self.owner.take_letter(from, &bytes);
        }
        Ok(())
    }
}

impl Handover {
    /// If it is not open already.
    fn open_door(&mut self) {
        let Some(path) = &self.path else { return };
        if self.door.as_ref().is_some_and(|door| door.is_at(path)) {
            return;
        }
        match Door::open(path) {
            Ok(door) => self.door = Some(door),
            Err(error) => tracing::error!("there will be no upgrade without loss: {error}"),
        }
    }
}

fn say_taken(sessions: Option<(u64, u64)>) {
    match sessions {
        Some((sessions, 0)) => tracing::info!(sessions, "taken over from the relay before"),
        Some((sessions, no_place)) => {
            tracing::warn!(sessions, no_place, "taken over from the relay before");
        }
        None => tracing::warn!(
            "the relay before writes sessions down in another way: clients come back by themselves"
        ),
    }
}

impl BackEnd {
    /// One worker by the portable back end, tables on the heap.
    ///
    /// # Errors
    /// When an address cannot be bound, or another back end is asked for.
    pub fn portable(config: &Config, inherited: Inherited) -> Result<Self, StartError> {
        if !matches!(config.io, IoChoice::Auto | IoChoice::Std) {
            let fix = "this system has \"std\" only";
            return Err(StartError::Config(ConfigError::new("io", fix)));
        }
        let fail = |error| StartError::Bind(BindError::of(&config.listen, error));
        let sockets = match inherited {
            Some(sockets) => sockets,
            None => vec![
                open(&config.listen, config.socket_buffer as usize, |_, _| Ok(()))
                    .map_err(StartError::Bind)?,
            ],
        };
        let outlet = Sockets::beside(&sockets).map_err(fail)?;
        let worker = |set| Ok(Box::new(Udp::new(set).map_err(fail)?) as Box<dyn Io + Send>);
        let workers = sockets.into_iter().map(worker).collect::<Result<_, _>>()?;
        let tables = SharedTables::on_heap(config.limits());
        Ok(Self { workers, on_thread: |_| (), outlet, tables, fast_path: None })
    }
}

/// Watches, drains and stops a [`Relay`] from another thread.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    shared: Arc<Shared>,
}

impl RelayHandle {
    /// Makes [`Relay::run`] return soon.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Tells every peer that the relay stops in `left`, takes no new ones, and stops when nobody
    /// is left or the time is over; who is still there then is told.
    pub fn drain(&self, left: Duration) {
        // Whoever asks whether it is ready must not send anybody here who is then refused.
        self.shared.set(RelayState::Draining);
        *self.shared.drain.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        self.shared.waker.wake();
    }

    /// Takes from `config` what a running relay can change, and names the other keys that differ:
    /// these wait for the next start.
    ///
    /// # Errors
    /// [`ConfigError`], as of [`Config::check`]; then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<Vec<&'static str>, ConfigError> {
        let mut running = self.shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = running.clone();
        let kept = next.reload(config);
        next.check()?;
        *running = next;
        drop(running);
        self.shared.changed.store(true, Ordering::Release);
        self.shared.waker.wake();
        Ok(kept)
    }

    /// Whether another relay can take its place: [`Config::handover_socket`].
    #[must_use]
    pub fn hands_over(&self) -> bool {
        let config = self.shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.handover_socket.is_some()
    }

    /// How long [`drain`](Self::drain) should give, by the latest settings.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        self.shared.config.lock().unwrap_or_else(PoisonError::into_inner).drain_timeout()
    }

    /// How often the owner and each worker have taken their turns: a count that stands still for
    /// seconds is a thread that does.
    #[must_use]
    pub fn turns(&self) -> Vec<u64> {
        let workers = self.shared.workers.iter().map(|worker| &worker.turns);
        let all = core::iter::once(&self.shared.turns).chain(workers);
        all.map(|turns| turns.load(Ordering::Relaxed)).collect()
    }

    /// What the relay is at.
    #[must_use]
    pub fn state(&self) -> RelayState {
        RelayState::of(self.shared.state.load(Ordering::Relaxed))
    }

    /// What does not change while it runs.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.shared.about
    }

    /// What happened so far, as of the relay's latest turns.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        self.shared.counters()
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
    /// It cannot take the place of the relay before it, or wait for the one after.
    Handover(io::Error),
    /// `announce`, `listen` or `region` make no directory entry.
    Entry(RelayEntryError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Handover(error) => write!(f, "handover_socket: {error}"),
            Self::Entry(error) => write!(f, "announce, listen or region: {error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// What the threads of a running relay have in common.
#[derive(Clone, Copy)]
struct Team<'r> {
    halt: &'r AtomicBool,
    shared: &'r Shared,
    clock: Clock,
}

impl<'r> Team<'r> {
    fn spawn<'scope, I: Io + Send>(
        self,
        scope: &'scope Scope<'scope, '_>,
        number: usize,
        worker: &'scope mut Worker<I>,
        on_thread: fn(usize),
    ) -> io::Result<ScopedJoinHandle<'scope, io::Result<()>>>
    where
        'r: 'scope,
    {
        let work = move || {
            // However this worker ends, the others do not go on without it.
            let _ends = EndsAll(self.shared);
            on_thread(number);
            worker.start()?;
            while !self.halt.load(Ordering::Relaxed) {
                worker.turn(IDLE, || self.clock.now())?;
            }
            worker.finish(|| self.clock.now())
        };
        thread::Builder::new().name(format!("waylane-{number}")).spawn_scoped(scope, work)
    }

    /// Has the fast path, if there is one, go by the present rules.
    fn begin_fast_path(self, owner: &Owner<Ring>) {
        if let Some(fast_path) = &self.shared.fast_path
            && let Err(error) = fast_path.begin(owner.forwarding(), self.clock.start)
        {
            tracing::warn!("the fast path keeps to what it was: {error}");
        }
    }

    /// Has the owner go by the latest settings; answers the list that clients are given.
    fn follow_settings(
        self,
        owner: &mut Owner<Ring>,
    ) -> Result<Option<directory::File>, ConfigError> {
        let config = self.shared.config();
        let (core, directory) = (config.core(self.clock.unix_seconds)?, config.directory()?);
        owner.reload(&core).map_err(ConfigError::from)?;
        Ok(directory)
    }

    /// Returns who takes this relay's place, if anybody does.
    fn own(
        self,
        owner: &mut Owner<Ring>,
        handover: &mut Handover,
        key: &PublicKey,
    ) -> Option<Successor> {
        let mut end = Instant::FAR;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            if let Some(left) = self.shared.take_drain() {
                tracing::info!(seconds = left.as_secs(), "draining");
                owner.drain(now, left);
                end = now + left;
            }
            if end != Instant::FAR && (now >= end || owner.sessions() == 0) {
                tracing::info!(sessions_left = owner.sessions(), "drained");
                owner.close(now);
                return None;
            }
            if let Some(visitor) = handover.door.as_ref().and_then(Door::visitor) {
                let sockets = &handover.sockets;
                match Successor::serve(visitor, now, key, owner, sockets, handover::FORMAT) {
                    Ok(successor) => return Some(successor),
                    Err(error) => {
                        tracing::warn!("the next relay does not take over: {error}");
                        // It may have put its own door in place of this one's.
                        handover.open_door();
                    }
                }
            }
            if self.shared.changed.swap(false, Ordering::Acquire) {
                match self.follow_settings(owner) {
                    Ok(directory) => {
                        set_directory(owner, directory.as_ref(), key);
                        self.begin_fast_path(owner);
                        tracing::info!("the settings as read again are in force");
                    }
                    Err(error) => tracing::error!("the new settings do not serve: {error}"),
                }
            }
            let idle = if handover.door.is_some() { LISTENING } else { IDLE };
            let wait = owner.deadline().min(end).since(now).min(idle);
            owner.turn(wait, || self.clock.now());
            self.shared.publish(owner.counters());
            owner.summarize(now, || self.shared.counters());
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
        }
        None
    }
}

fn set_directory(owner: &mut Owner<Ring>, file: Option<&directory::File>, me: &PublicKey) {
    owner.set_directory(file);
    if let Some(file) = file {
        file.tell(me);
    }
}

fn ended(thread: ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What the handles and the running relay share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    state: AtomicU8,
    about: About,
    drain: Mutex<Option<Duration>>,
    /// What the relay runs by.
    config: Mutex<Config>,
    /// Whether the owner has yet to follow it.
    changed: AtomicBool,
    /// The owner's.
    turns: AtomicU64,
    owner: Mutex<OwnerCounters>,
    workers: Vec<Arc<Published>>,
    waker: Waker,
    fast_path: Option<Box<dyn FastPath>>,
}

impl Shared {
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    fn set(&self, state: RelayState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// From now on it serves, unless it was told to drain before.
    fn begins_to_serve(&self) {
        let draining = RelayState::Draining as u8;
        let next = |state| (state != draining).then_some(RelayState::Serving as u8);
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// The latest settings.
    fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_drain(&self) -> Option<Duration> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn publish(&self, counters: OwnerCounters) {
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    fn counters(&self) -> RelayCounters {
        // What the owner has answered was received before.
        let owner = *self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counters = RelayCounters { owner, ..RelayCounters::default() };
        for worker in &self.workers {
            counters.workers.add(&worker.load());
            counters.spread.add(&worker.spread());
        }
        if let Some(fast_path) = &self.fast_path {
            counters.fast_path = fast_path.counters();
        }
        counters
    }
}

struct EndsAll<'r>(&'r Shared);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The process's clock as core wants it, and the wall clock when it started.
#[derive(Clone, Copy)]
struct Clock {
    start: std::time::Instant,
    unix_seconds: u64,
}

impl Clock {
    /// A clock that shows `offset` now.
    fn start(offset: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = std::time::Instant::now();
        let start = now.checked_sub(offset.since(Instant::ZERO)).unwrap_or(now);
        Self { start, unix_seconds: unix.as_secs() }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }
}

/// How long a thread waits when nothing is due: a stop wakes it.
const IDLE: Duration = Duration::from_secs(1);
/// How long the owner does, if another relay may knock meanwhile.
const LISTENING: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_not_ready_before_anybody_can_hear_that_it_drains() {
        let mut config = Config::dev();
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let relay = Relay::bind(&config).unwrap();
        let handle = relay.handle();
        // The owner, who tells the players, cannot take the order yet.
        let order = relay.shared.drain.lock().unwrap();
        let drains = thread::spawn(move || handle.drain(Duration::from_secs(60)));
        let (handle, start) = (relay.handle(), std::time::Instant::now());
        while handle.state() != RelayState::Draining {
            assert!(start.elapsed() < Duration::from_secs(60), "it is {:?}", handle.state());
            thread::yield_now();
        }
        drop(order);
        drains.join().unwrap();
        assert_eq!(relay.shared.take_drain(), Some(Duration::from_secs(60)));
    }
}

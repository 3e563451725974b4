//! The owner of the sessions: what the workers hand over, answered one after the other.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use waylane_core::crypto::{Crypto, Secret};
use waylane_core::id::{PublicKey, SessionId};
use waylane_core::relay::{
    Control, ControlCounters, Forwarding, REPLY_MAX, RelayConfig, RelayConfigError, Reply,
    TableFull,
};
use waylane_core::time::Instant;

use crate::counters::RelayCounters;
use crate::directory;
use crate::io::{Outlet, Waker};
use crate::journal::Journal;
use crate::queue::{FromWorkers, Sender, ToOwner, queue};
use crate::rules::Rules;
use crate::tables::{OwnerMemory, SharedTables};

/// Binds, keys, moves and expiry: the one writer of the tables that workers forward by.
pub struct Owner<C: Crypto> {
    control: Control<C, OwnerMemory>,
    tables: SharedTables,
    outlet: Box<dyn Outlet + Send>,
    letters: FromWorkers,
    to_owner: ToOwner,
    rules: Arc<Rules>,
    journal: Journal,
    counters: OwnerCounters,
}

/// What a worker is made of, besides its back end.
pub(crate) struct WorkerParts {
    pub(crate) tables: SharedTables,
    pub(crate) rules: Arc<Rules>,
    pub(crate) to_owner: ToOwner,
}

/// What the owner counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OwnerCounters {
    /// What came of the control datagrams.
    pub control: ControlCounters,
    /// Datagrams of its own that the system took: replies, and what nobody asked for.
    pub replies: u64,
    /// Their UDP payload bytes.
    pub reply_bytes: u64,
    /// Datagrams of its own that the system did not take for sending; none of them came in.
    pub replies_failed: u64,
}

impl<C: Crypto> Owner<C> {
    /// An owner without sessions, for a relay whose static key is `secret`. What `tables` held is
    /// forgotten.
    ///
    /// # Errors
    /// What is wrong with `config`, or that `tables` are not of the sizes it asks for.
    pub fn new(
        now: Instant,
        config: &RelayConfig,
        secret: Secret,
        crypto: C,
        tables: SharedTables,
        outlet: Box<dyn Outlet + Send>,
    ) -> Result<Self, RelayConfigError> {
        config.check()?;
        let memory = OwnerMemory::new(config.limits, tables.clone());
        let control = Control::new(now, config, secret, crypto, memory)?;
        let (to_owner, letters) = queue();
        let journal = Journal::new(now, config.limits.sessions);
        let rules = Arc::new(Rules::new(control.forwarding()));
        let counters = OwnerCounters::default();
        Ok(Self { control, tables, outlet, letters, to_owner, rules, journal, counters })
    }

    /// Answers what the workers have handed over, waiting at most `wait` for the first, and does
    /// all that is due. `clock` is read once, after the wait. Returns how many it has answered.
    pub fn turn(&mut self, wait: Duration, clock: impl FnOnce() -> Instant) -> usize {
        let mut letter = self.letters.next(wait);
        let now = clock();
        let mut out = [0; REPLY_MAX];
        let mut count = 0;
        while let Some(mut datagram) = letter {
            let from = datagram.from;
            if let Some(reply) = self.control.handle(now, from, datagram.bytes_mut(), &mut out) {
                self.send(reply, &out);
            }
            self.write(now);
            count += 1;
            let more = count < LETTERS_AT_ONCE;
            letter = if more { self.letters.next(Duration::ZERO) } else { None };
        }
        self.control.handle_timeout(now);
        self.write(now);
        while let Some(reply) = self.control.poll_transmit(now, &mut out) {
            self.send(reply, &out);
        }
        count
    }

    /// When a turn is due at the latest, if no worker hands anything over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.control.poll_timeout()
    }

    /// Tells every peer that the relay stops in `left`, and takes no new ones.
    pub fn drain(&mut self, now: Instant, left: Duration) {
        self.control.drain(now, left);
    }

    /// Tells everybody who is left that this is the end.
    pub(crate) fn close(&mut self, now: Instant) {
        let mut out = [0; REPLY_MAX];
        while self.control.close_some(now) {
            self.write(now);
            while let Some(reply) = self.control.poll_transmit(now, &mut out) {
                self.send(reply, &out);
            }
        }
    }

    /// Goes on by other settings, and lets the workers know. The tables keep their sizes.
    ///
    /// # Errors
    /// What is wrong with `config`; then nothing changes.
    pub fn reload(&mut self, config: &RelayConfig) -> Result<(), RelayConfigError> {
        self.control.reload(config)?;
        self.rules.change(self.control.forwarding());
        Ok(())
    }

    /// Gives clients this signed list of relays from now on.
    pub(crate) fn set_directory(&mut self, file: Option<&directory::File>) {
        let list = file.and_then(directory::File::list);
        self.control.set_directory(list.as_ref());
    }

    pub(crate) const fn control(&self) -> &Control<C, OwnerMemory> {
        &self.control
    }

    pub(crate) const fn control_mut(&mut self) -> &mut Control<C, OwnerMemory> {
        &mut self.control
    }

    /// What the workers have handed over and nobody has answered.
    pub(crate) fn take_letters(&self) -> impl Iterator<Item = (SocketAddr, Vec<u8>)> {
        self.letters.rest().map(|mut letter| (letter.from, letter.bytes_mut().to_vec()))
    }

    /// Takes a datagram that was handed over to another owner.
    pub(crate) fn take_letter(&self, from: SocketAddr, bytes: &[u8]) {
        // A queue as long as the other's has room for what was in that one.
        let _ = self.to_owner.hand_over(Sender::Session, from, bytes);
    }

    /// Live sessions.
    pub(crate) fn sessions(&self) -> u64 {
        self.control.counters().sessions_live
    }

    /// Makes a session live without a bind, for benchmarks: see [`Control::insert`].
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        address: SocketAddr,
    ) -> Result<SessionId, TableFull> {
        self.control.insert(now, peer, address)
    }

    /// Ends its wait from another thread.
    pub(crate) fn waker(&self) -> Waker {
        let to_owner = self.to_owner.clone();
        Waker::new(move || to_owner.wake())
    }

    /// What forwarders go by besides the tables.
    #[must_use]
    pub fn forwarding(&self) -> Forwarding {
        self.control.forwarding()
    }

    pub(crate) fn worker_parts(&self) -> WorkerParts {
        WorkerParts {
            tables: self.tables.clone(),
            rules: Arc::clone(&self.rules),
            to_owner: self.to_owner.clone(),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> OwnerCounters {
        OwnerCounters { control: self.control.counters(), ..self.counters }
    }

    /// Whether the log names addresses by themselves.
    pub(crate) fn log_addresses(&mut self, log_addresses: bool) {
        self.journal.log_addresses(log_addresses);
    }

    /// Tells the log what was dropped, once a minute.
    pub(crate) fn summarize(&mut self, now: Instant, counters: impl FnOnce() -> RelayCounters) {
        self.journal.summarize(now, counters);
    }

    /// Tells the log which sessions have ended.
    fn write(&mut self, now: Instant) {
        while let Some(event) = self.control.poll_event() {
            self.journal.note(now, event);
        }
    }

    fn send(&mut self, reply: Reply, out: &[u8; REPLY_MAX]) {
        let bytes = out.get(..reply.len).unwrap_or_default();
        match self.outlet.send(reply.to, bytes) {
            Ok(()) => {
                self.counters.replies += 1;
                self.counters.reply_bytes += bytes.len() as u64;
            }
            Err(error) => {
                self.counters.replies_failed += 1;
                tracing::trace!(kind = ?error.kind(), "a reply could not be sent");
            }
        }
    }
}

/// So that what is due is done in time however many there are.
const LETTERS_AT_ONCE: usize = 64;

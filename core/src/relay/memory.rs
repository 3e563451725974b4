//! What a relay is allowed to hold, and the memory it holds it in.

use super::config::RelayConfigError;
use super::hot::HotEntry;
use super::index::{BUCKET, IndexBucket};
use super::pending::Pending;
use super::sessions::Session;
use crate::id::SessionId;

/// How much a relay holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayLimits {
    /// Sessions at most, 8 to 2²⁴ − 1: each costs [`SESSION_BYTES`].
    pub sessions: u32,
    /// Binds that are answered but not yet proven, 1 to 65,535; when full, the oldest gives way.
    pub pending: u32,
}

impl RelayLimits {
    /// Hot entries for this many sessions: one each, the [accounts](Self::accounts), and one for
    /// all together.
    #[must_use]
    pub const fn hot_entries(&self) -> usize {
        (self.sessions as usize).saturating_add(self.accounts()).saturating_add(1)
    }

    /// Accounts of sources, for those that have more than one session: as many as there can be
    /// such sources, but 4,096 at most, which more of them share.
    #[must_use]
    pub const fn accounts(&self) -> usize {
        let accounts = (self.sessions / 2) as usize;
        if accounts < ACCOUNTS_MAX { accounts } else { ACCOUNTS_MAX }
    }

    /// Index buckets for this many sessions: twice as many places as sessions.
    #[must_use]
    pub const fn index_buckets(&self) -> usize {
        (self.sessions as usize).saturating_mul(2).div_ceil(BUCKET)
    }

    /// Whether both numbers are in their ranges.
    ///
    /// # Errors
    /// Which of them is not.
    pub const fn check(&self) -> Result<(), RelayConfigError> {
        if self.sessions < SESSIONS_MIN || self.sessions >= SessionId::SLOTS {
            return Err(RelayConfigError::Sessions);
        }
        if self.pending == 0 || self.pending > PENDING_MAX {
            return Err(RelayConfigError::Pending);
        }
        Ok(())
    }
}

impl Default for RelayLimits {
    /// 65,536 sessions (12 MiB) and 1,024 unproven binds.
    fn default() -> Self {
        Self { sessions: 65_536, pending: 1024 }
    }
}

/// A relay's memory: four slices in whatever holds them (a `Box`, a `static`, a mapping).
///
/// Forwarders on other threads need `hot` and `index` shared (`Arc`, `&'static`); one thread can
/// own all four.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelayMemory<H, I, S, P> {
    /// [`RelayLimits::hot_entries`] entries.
    pub hot: H,
    /// [`RelayLimits::index_buckets`] buckets.
    pub index: I,
    /// [`RelayLimits::sessions`] entries.
    pub sessions: S,
    /// [`RelayLimits::pending`] entries.
    pub pending: P,
}

/// Where a relay's slices come from; implemented by [`RelayMemory`].
pub trait Memory {
    /// The two tables that forwarders share.
    fn tables(&self) -> Tables<'_>;
    /// What only the owner touches, for reading.
    fn owned(&self) -> (&[Session], &[Pending]);
    /// All four slices.
    fn parts(&mut self) -> Parts<'_>;
}

impl<H, I, S, P> Memory for RelayMemory<H, I, S, P>
where
    H: AsRef<[HotEntry]>,
    I: AsRef<[IndexBucket]>,
    S: AsRef<[Session]> + AsMut<[Session]>,
    P: AsRef<[Pending]> + AsMut<[Pending]>,
{
    fn tables(&self) -> Tables<'_> {
        Tables { hot: self.hot.as_ref(), index: self.index.as_ref() }
    }

    fn owned(&self) -> (&[Session], &[Pending]) {
        (self.sessions.as_ref(), self.pending.as_ref())
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            tables: Tables { hot: self.hot.as_ref(), index: self.index.as_ref() },
            sessions: self.sessions.as_mut(),
            pending: self.pending.as_mut(),
        }
    }
}

/// The tables that every forwarder reads.
#[derive(Clone, Copy)]
pub struct Tables<'m> {
    /// One entry per slot, the accounts of sources, and one for all together.
    pub hot: &'m [HotEntry],
    /// The address index.
    pub index: &'m [IndexBucket],
}

impl Tables<'_> {
    /// Forgets every session.
    pub(crate) fn clear(&self) {
        for entry in self.hot {
            entry.retire();
            entry.set_users(0);
        }
        for bucket in self.index {
            bucket.clear();
        }
    }
}

/// All of a relay's memory, lent for one call.
pub struct Parts<'m> {
    /// What the forwarders share.
    pub tables: Tables<'m>,
    /// The owner's half of each session.
    pub sessions: &'m mut [Session],
    /// Binds waiting for their proof.
    pub pending: &'m mut [Pending],
}

/// Bytes a session costs, all tables together.
pub const SESSION_BYTES: usize =
    size_of::<HotEntry>() + size_of::<Session>() + 2 * size_of::<IndexBucket>() / BUCKET;

const SESSIONS_MIN: u32 = 8;
const ACCOUNTS_MAX: usize = 4096;
const PENDING_MAX: u32 = 65_535;

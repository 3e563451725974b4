//! Where a relay's tables lie: the shared ones, and what only the owner touches.

use std::sync::Arc;

use waylane_core::relay::{
    HotEntry, IndexBucket, Memory, Parts, Pending, RelayLimits, Session, Tables,
};

/// The two tables that the owner writes and every worker reads; fixed when the relay starts.
#[derive(Clone)]
pub struct SharedTables {
    hot: Lent<HotEntry>,
    index: Lent<IndexBucket>,
}

type Lent<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

impl SharedTables {
    /// Tables in the program's own memory.
    #[must_use]
    pub fn on_heap(limits: RelayLimits) -> Self {
        let hot: Box<[_]> = (0..limits.hot_entries()).map(|_| HotEntry::new()).collect();
        let index: Box<[_]> = (0..limits.index_buckets()).map(|_| IndexBucket::new()).collect();
        Self::lent(hot, index)
    }

    /// Tables in memory from elsewhere: [`RelayLimits::hot_entries`] entries and
    /// [`RelayLimits::index_buckets`] buckets.
    pub fn lent(
        hot: impl AsRef<[HotEntry]> + Send + Sync + 'static,
        index: impl AsRef<[IndexBucket]> + Send + Sync + 'static,
    ) -> Self {
        Self { hot: Arc::new(hot), index: Arc::new(index) }
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> Tables<'_> {
        Tables { hot: (*self.hot).as_ref(), index: (*self.index).as_ref() }
    }
}

/// All of the owner's memory.
pub(crate) struct OwnerMemory {
    shared: SharedTables,
    sessions: Box<[Session]>,
    pending: Box<[Pending]>,
}

impl OwnerMemory {
    pub(crate) fn new(limits: RelayLimits, shared: SharedTables) -> Self {
        let sessions = (0..limits.sessions).map(|_| Session::new()).collect();
        let pending = (0..limits.pending).map(|_| Pending::new()).collect();
        Self { shared, sessions, pending }
    }
}

impl Memory for OwnerMemory {
    fn tables(&self) -> Tables<'_> {
        self.shared.tables()
    }

    fn owned(&self) -> (&[Session], &[Pending]) {
        (&self.sessions, &self.pending)
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            tables: self.shared.tables(),
            sessions: &mut self.sessions,
            pending: &mut self.pending,
        }
    }
}

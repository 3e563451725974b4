//! What workers forward by besides the tables, and how they learn of a change.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use waylane_core::relay::Forwarding;

/// The owner's end.
#[derive(Debug)]
pub(crate) struct Rules {
    version: AtomicU32,
    forwarding: Mutex<Forwarding>,
}

/// A worker's end.
pub(crate) struct Following {
    rules: Arc<Rules>,
    version: u32,
    forwarding: Forwarding,
}

impl Rules {
    pub(crate) fn new(forwarding: Forwarding) -> Self {
        Self { version: AtomicU32::new(0), forwarding: Mutex::new(forwarding) }
    }

    pub(crate) fn change(&self, forwarding: Forwarding) {
        *self.forwarding.lock().unwrap_or_else(PoisonError::into_inner) = forwarding;
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl Following {
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        let version = rules.version.load(Ordering::Acquire);
        let forwarding = *rules.forwarding.lock().unwrap_or_else(PoisonError::into_inner);
        Self { rules, version, forwarding }
    }

    /// The rules as they are now. Only a change costs more than one load.
    pub(crate) fn latest(&mut self) -> Forwarding {
        let version = self.rules.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.forwarding = *self.rules.forwarding.lock().unwrap_or_else(PoisonError::into_inner);
        }
        self.forwarding
    }
}

//! A relay of one's own, in a thread.

use core::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;

use waylane::RelayEntry;
use waylane_relay::{Config, Relay, RelayHandle, StartError};

/// A relay on this machine that stops when this is dropped.
pub(crate) struct TestRelay {
    entry: RelayEntry,
    handle: RelayHandle,
    thread: Option<JoinHandle<()>>,
}

impl TestRelay {
    pub(crate) fn start(at: IpAddr) -> Result<Self, StartError> {
        let mut config = Config::dev();
        config.listen = vec![SocketAddr::new(at, 0)];
        Self::of(&config)
    }

    pub(crate) fn of(config: &Config) -> Result<Self, StartError> {
        let mut relay = Relay::bind(config)?;
        let entry = relay.entry().clone();
        let handle = relay.handle();
        let thread = std::thread::spawn(move || relay.run().expect("the relay's sockets work"));
        Ok(Self { entry, handle, thread: Some(thread) })
    }

    pub(crate) fn entry(&self) -> RelayEntry {
        self.entry.clone()
    }
}

impl Drop for TestRelay {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

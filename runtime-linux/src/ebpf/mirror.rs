//! Keeps what the programs know of the machine's network as it is.

use core::time::Duration;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::interface::{self, Wanted};
use super::netlink::{Changes, Netlink};
use super::next_hops::{self, Plan};
use super::program::{Place, Program};
use crate::io::Wake;

/// A thread that copies routes and neighbours into the programs' maps whenever they change.
#[derive(Debug)]
pub(super) struct Mirror {
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Begins.
    ///
    /// # Errors
    /// When the kernel gives no socket or no thread.
    pub(super) fn start(program: Arc<Mutex<Program>>, wanted: Wanted) -> io::Result<Self> {
        let wake = Wake::new()?;
        let changes = Changes::new()?;
        let mut follower = Follower {
            program,
            wanted,
            netlink: Netlink::new()?,
            place: Place::default(),
            failing: false,
        };
        // Once here: whoever starts it may rely on the maps.
        follower.follow();
        let stop = wake.fd();
        let work = move || {
            loop {
                let stopped = wait(&[stop, changes.fd()], FRESH)
                    // What changes together is copied together.
                    || wait(&[stop], TOGETHER);
                if stopped {
                    return;
                }
                changes.clear();
                follower.follow();
            }
        };
        let thread = thread::Builder::new().name("waylane-routes".to_owned()).spawn(work)?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.wake.waker().wake();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Follower {
    program: Arc<Mutex<Program>>,
    wanted: Wanted,
    netlink: Netlink,
    place: Place,
    failing: bool,
}

impl Follower {
    /// Copies what is now. What cannot be told is left to the workers, and said once.
    fn follow(&mut self) {
        match self.copy() {
            Ok(()) => self.failing = false,
            Err(why) => {
                if !core::mem::replace(&mut self.failing, true) {
                    tracing::warn!("the fast path leaves everything to the workers: {why}");
                }
                let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
                self.place = Place::default();
                let nowhere =
                    program.place(&self.place).and_then(|()| program.mirror(Plan::default()));
                if let Err(error) = nowhere {
                    tracing::debug!(%error, "the maps stay as they were");
                }
            }
        }
    }

    fn copy(&mut self) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        let seen = self.netlink.consistent_snapshot().map_err(said)?;
        let found = interface::find(&seen, &self.wanted)?;
        let place = found.place;
        let plan = next_hops::plan(&seen, place.ifindex, found.mtu)?;
        for gateway in &plan.unsure {
            self.netlink.resolve(place.ifindex, *gateway).map_err(said)?;
        }
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        program.mirror(plan).map_err(said)?;
        if place != self.place {
            program.place(&place).map_err(said)?;
            self.place = place;
        }
        Ok(())
    }
}

/// Whether the first of `files` became readable within `patience`.
fn wait(files: &[RawFd], patience: Duration) -> bool {
    let poll = |fd: &RawFd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 };
    let mut polled: Vec<libc::pollfd> = files.iter().map(poll).collect();
    let patience = patience.as_millis() as libc::c_int;
    // SAFETY: the array lives through the call and is as long as told.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, patience) };
    polled.first().is_some_and(|first| first.revents != 0)
}

/// How often gateways are made sure of.
const FRESH: Duration = Duration::from_secs(5);
const TOGETHER: Duration = Duration::from_millis(20);

//! A network namespace of a test's own.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace, by its name; gone when this is dropped.
pub(crate) struct Namespace(String);

impl Namespace {
    /// Makes one, with this process's number in its name, which is short enough for an interface's.
    pub(crate) fn new(prefix: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self(format!("{prefix}{}-{number}", std::process::id()));
        run(&format!("ip netns add {}", namespace.name()));
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Runs `ip` in it.
    pub(crate) fn ip(&self, line: &str) {
        run(&format!("ip -n {} {line}", self.name()));
    }

    /// Does this in it; threads and sockets made there stay there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/var/run/netns/{}", self.name())).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", self.name()]).status());
    }
}

fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {why}(this test needs root and iproute2)");
}

//! A back end without a system.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use waylane_relay::io::{Batch, Outgoing, Outlet, Sent, Waker};
use waylane_relay::{Io, runs};

use crate::suite::rig::{Peer, Rig};

/// Over nothing but memory.
pub(crate) fn fake(peers: usize) -> Rig<Fake> {
    let net = Arc::new(Net::default());
    let peer = |n: usize| {
        net.queues().to_peers.push(VecDeque::new());
        Box::new(FakePeer { net: Arc::clone(&net), number: n }) as Box<dyn Peer>
    };
    let peers = (0..peers).map(peer).collect();
    let outlet = Box::new(FakeOutlet(Arc::clone(&net)));
    let io = Fake { net, batch: Batch::new(20) };
    Rig { io, outlet, peers, unreachable: SocketAddr::from(([203, 0, 113, 1], 1)) }
}

/// A back end that is two queues.
pub(crate) struct Fake {
    net: Arc<Net>,
    batch: Batch,
}

struct FakeOutlet(Arc<Net>);

#[derive(Default)]
struct Net {
    queues: Mutex<Queues>,
    woken: Condvar,
}

#[derive(Default)]
struct Queues {
    to_relay: VecDeque<(SocketAddr, Vec<u8>)>,
    to_peers: Vec<VecDeque<Vec<u8>>>,
    is_woken: bool,
}

impl Net {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap()
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let queues = &mut *self.queues();
        let number = (0..queues.to_peers.len()).find(|&n| fake_address(n) == to);
        let queue = number.and_then(|n| queues.to_peers.get_mut(n));
        queue.ok_or(io::ErrorKind::HostUnreachable)?.push_back(bytes.to_vec());
        Ok(())
    }
}

impl Outlet for FakeOutlet {
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.0.send(to, bytes)
    }
}

impl Io for Fake {
    fn receive(&mut self, wait: Duration) -> io::Result<usize> {
        self.batch.clear();
        let queues = self.net.queues();
        let nothing = |queues: &mut Queues| queues.to_relay.is_empty() && !queues.is_woken;
        let (mut queues, _) = self.net.woken.wait_timeout_while(queues, wait, nothing).unwrap();
        queues.is_woken = false;
        while let Some(space) = self.batch.space() {
            let Some((from, datagram)) = queues.to_relay.pop_front() else { break };
            let len = datagram.len().min(space.len());
            space[..len].copy_from_slice(&datagram[..len]);
            self.batch.push(from, len);
        }
        Ok(self.batch.len())
    }

    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        self.batch.datagram(index)
    }

    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent) {
        // As a back end with segmentation: a run is one piece of memory, cut again by length.
        for run in runs(outgoing, usize::MAX) {
            let mut joined = Vec::new();
            for datagram in run {
                joined.extend_from_slice(self.batch.datagram(datagram.index).unwrap().1);
            }
            for segment in joined.chunks(run[0].len) {
                match self.net.send(run[0].to, segment) {
                    Ok(()) => sent.took(1, segment.len()),
                    Err(error) => sent.refused(&error),
                }
            }
        }
    }

    fn waker(&self) -> Waker {
        let net = Arc::clone(&self.net);
        Waker::new(move || {
            net.queues().is_woken = true;
            net.woken.notify_all();
        })
    }
}

struct FakePeer {
    net: Arc<Net>,
    number: usize,
}

impl Peer for FakePeer {
    fn address(&self) -> SocketAddr {
        fake_address(self.number)
    }

    fn send(&self, datagram: &[u8]) {
        self.net.queues().to_relay.push_back((self.address(), datagram.to_vec()));
    }

    fn receive(&self) -> Option<Vec<u8>> {
        self.net.queues().to_peers[self.number].pop_front()
    }
}

fn fake_address(number: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000 + number as u16))
}

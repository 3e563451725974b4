//! The manager's frame loop: moving datagrams and time, and giving out events.

use core::time::Duration;

use waylane_core::channel::Scope;
use waylane_core::endpoint::Transmit;
use waylane_core::time::Instant;

use crate::clock::wall_clock;
use crate::emulation::EmulatedLink;
use crate::event::{self, Event};
use crate::manager::NetworkManager;
use crate::meter::Bytes;
use crate::socket::{DATAGRAM_MAX, Received, Sent};

impl NetworkManager {
    /// Receives, and tells everything that happened by calling `on_event` with the manager itself,
    /// so that a callback can use every verb. Call it at the start of the frame.
    ///
    /// No application data is written, only what the protocol owes: handshakes,
    /// acknowledgements, keep-alives. Called from inside a callback it does nothing.
    pub fn run_callbacks(&mut self, mut on_event: impl FnMut(&mut Self, Event<'_>)) {
        let Some(buffer) = self.message.take() else { return };
        let mut running = Running { net: self, buffer };
        // What waits in the socket comes before any time-out: after a pause, the other side's
        // signs of life are there, only unread.
        for _ in 0..BATCHES_MAX {
            let more = running.net.receive_batch();
            running.deliver(&mut on_event);
            if !more {
                break;
            }
        }
        running.net.handle_timeout();
        running.deliver(&mut on_event);
        running.net.transmit(Scope::Protocol);
    }

    /// Writes out everything queued so far. Call it at the end of the frame.
    ///
    /// What the connection's pace or a full socket holds back leaves with the next `flush` or
    /// [`service`](Self::service).
    pub fn flush(&mut self) {
        self.endpoint.flush();
        self.transmit(Scope::Everything);
    }

    /// Receives, keeps time and goes on writing what is already flushed, without callbacks: what
    /// arrived waits for [`run_callbacks`](Self::run_callbacks). Optional, between frames, or
    /// during a long one.
    pub fn service(&mut self) {
        for _ in 0..BATCHES_MAX {
            if !self.receive_batch() {
                break;
            }
        }
        self.handle_timeout();
        self.transmit(Scope::Everything);
    }

    /// When [`service`](Self::service) or [`run_callbacks`](Self::run_callbacks) is next useful
    /// even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<std::time::Instant> {
        let endpoint = self.endpoint.poll_timeout().map(|(at, _reason)| at);
        let outgoing = self.outgoing.as_ref().and_then(EmulatedLink::next_due);
        let incoming = self.incoming.as_ref().and_then(EmulatedLink::next_due);
        let retry = self.pending.map(|_| self.clock.now() + RETRY);
        let first = [endpoint, outgoing, incoming, retry].into_iter().flatten().min()?;
        self.clock.to_std(first)
    }

    /// Blocks until a datagram waits, the [`next_deadline`](Self::next_deadline) is reached, or
    /// `at_most` has passed, and says whether a datagram waits. For programs without a frame of
    /// their own; nothing is received yet.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let left = self.next_deadline().map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(std::time::Instant::now())
        });
        self.sockets.wait(at_most.min(left))
    }

    /// Tells peers and relays, as far as the sockets take it at once.
    pub(crate) fn say_goodbye(&mut self) {
        self.endpoint.shutdown();
        self.transmit(Scope::Everything);
        // The link that made these datagrams late ends here.
        while let Some((to, datagram)) = self.outgoing.as_mut().and_then(EmulatedLink::remove) {
            self.sockets.send(to, &datagram, None);
        }
    }

    /// Takes what one read of each socket gives; whether there may be more.
    fn receive_batch(&mut self) -> bool {
        let now = self.clock.now();
        // None has waited for longer than since the last look, whatever the wall clock does.
        let longest = now.since(self.looked_at);
        let wall = wall_clock();
        let Self { sockets, endpoint, incoming, .. } = self;
        let more = sockets.receive(|Received { from, bytes, arrived }| match incoming {
            Some(link) => link.offer(now, from, bytes),
            None => {
                let waited = arrived.map_or(Duration::ZERO, |at| wall.saturating_sub(at));
                let waited = waited.min(longest);
                // A refusal is counted by the endpoint.
                endpoint.handle_waiting_datagram(now, waited, from, bytes).unwrap_or(());
            }
        });
        if !more {
            self.looked_at = now;
        }
        if let Some(link) = incoming {
            while link.peek(now).is_some() {
                let Some((from, mut datagram)) = link.remove() else { break };
                endpoint.handle_datagram(now, from, &mut datagram).unwrap_or(());
                link.recycle(datagram);
            }
        }
        // A list of relays may have come; those without a socket are silent, which an event tells.
        self.open_listed().unwrap_or(());
        more
    }

    fn handle_timeout(&mut self) {
        let now = self.clock.now();
        if self.sockets.take_network_gone() {
            // What cannot be had now is asked for again with whatever is to be sent.
            self.network_changed().unwrap_or(());
        }
        self.reload_directory(now);
        let Self { endpoint, meters, .. } = self;
        endpoint.handle_timeout(now);
        meters.sample(now, |peer| {
            let stats = endpoint.peer_stats(peer)?;
            Some(Bytes { sent: stats.bytes_sent, received: stats.bytes_received })
        });
    }

    /// Writes until there is nothing to write or the socket is full.
    fn transmit(&mut self, scope: Scope) {
        let now = self.clock.now();
        if self.pending.is_some() && scope == Scope::Protocol {
            // It may hold application data, which leaves in flush and service only; and the
            // socket that refused it was full a moment ago.
            self.send_due(now);
            return;
        }
        loop {
            if let Some(transmit) = self.pending {
                if self.send(now, transmit) == Sent::Full {
                    break;
                }
                self.pending = None;
                if let Some(next) = self.behind.take() {
                    self.out.copy_within(transmit.len..transmit.len + next.len, 0);
                    self.pending = Some(next);
                }
            }
            self.fill(now, scope);
            if self.pending.is_none() {
                break;
            }
        }
        self.send_due(now);
    }

    /// Writes what one system call can send: datagrams to one relay, of one size but for the last,
    /// whichever peers they are for.
    fn fill(&mut self, now: Instant, scope: Scope) {
        let most = self.sockets.segments_max();
        let Self { endpoint, out, pending, .. } = self;
        let Some(mut run) =
            pending.take().or_else(|| endpoint.poll_transmit(now, scope, most, out))
        else {
            return;
        };
        let size = run.segment_size.unwrap_or(run.len);
        while run.len.is_multiple_of(size) && run.len / size < most {
            let left = most - run.len / size;
            let room = self.out.get_mut(run.len..).filter(|room| room.len() >= DATAGRAM_MAX);
            let Some(next) = room.and_then(|room| endpoint.poll_transmit(now, scope, left, room))
            else {
                break;
            };
            let goes_along = next.segment_size.map_or(next.len <= size, |other| other == size);
            if next.to != run.to || !goes_along {
                self.behind = Some(next);
                break;
            }
            run.len += next.len;
            run.segment_size = Some(size);
        }
        self.pending = Some(run);
    }

    /// Sends what `out` holds, or lays it on the emulated link.
    fn send(&mut self, now: Instant, transmit: Transmit) -> Sent {
        let Some(bytes) = self.out.get(..transmit.len) else { return Sent::Gone };
        let Some(link) = &mut self.outgoing else {
            return self.sockets.send(transmit.to, bytes, transmit.segment_size);
        };
        for datagram in bytes.chunks(transmit.segment_size.unwrap_or(DATAGRAM_MAX).max(1)) {
            link.offer(now, transmit.to, datagram);
        }
        Sent::Gone
    }

    /// Sends what has come to the end of the emulated link.
    fn send_due(&mut self, now: Instant) {
        let Some(link) = &mut self.outgoing else { return };
        while let Some((to, datagram)) = link.peek(now) {
            if self.sockets.send(to, datagram, None) == Sent::Full {
                break;
            }
            if let Some((_, buffer)) = link.remove() {
                link.recycle(buffer);
            }
        }
    }
}

/// The manager while callbacks run. The message buffer is apart, so that a callback has both, and
/// comes back even if a callback panics.
struct Running<'a> {
    net: &'a mut NetworkManager,
    buffer: Box<[u8]>,
}

impl Running<'_> {
    fn deliver(&mut self, on_event: &mut impl FnMut(&mut NetworkManager, Event<'_>)) {
        let refused = self.net.directory_file.as_mut().and_then(|file| file.error.take());
        if let Some(error) = refused {
            on_event(self.net, Event::DirectoryRefused { error });
        }
        while let Some(event) = event::next(&mut self.net.endpoint, &mut self.buffer) {
            on_event(self.net, event);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.net.message = Some(core::mem::take(&mut self.buffer));
    }
}

/// Reads per call and socket: a bound, so that a flood cannot hold up the frame.
const BATCHES_MAX: usize = 64;
/// When to try a full socket again.
const RETRY: Duration = Duration::from_millis(1);

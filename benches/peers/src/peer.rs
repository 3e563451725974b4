//! What every library must do to be measured: no sockets, no clock, only datagrams and time.

use waylane_core::time::Instant;

/// One end of a connection between two.
pub trait Peer {
    /// Whether messages can be sent.
    fn connected(&self) -> bool;

    /// The program's loop has its first turn at this time; for libraries that count in frames.
    fn begin(&mut self, _at: Instant) {}

    /// Takes a datagram.
    fn handle(&mut self, now: Instant, datagram: &[u8]);

    /// Does what is due.
    fn wake(&mut self, now: Instant);

    /// When something is due next.
    fn wakes_at(&mut self) -> Instant;

    /// Hands a message over; false if there is no room.
    fn send(&mut self, now: Instant, channel: Channel, message: &[u8]) -> bool;

    /// How many bytes of reliable messages the program leaves undelivered, for libraries whose queues
    /// have no end.
    fn backlog(&self) -> u64 {
        u64::MAX
    }

    /// The next datagram to send.
    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>>;

    /// The next message that has arrived.
    fn receive(&mut self, now: Instant) -> Option<(Channel, Vec<u8>)>;
}

/// How a message is to arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Or not at all.
    Unreliable = 0,
    /// All, in order.
    Reliable = 1,
}

/// A library as it comes, or with one setting changed.
#[derive(Clone, Copy)]
pub struct Library {
    /// The head of its column.
    pub name: &'static str,
    /// Makes the caller and the called.
    pub make: fn(seed: u64) -> [Box<dyn Peer>; 2],
}

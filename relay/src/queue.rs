//! The bounded way of control datagrams from the workers to the owner of the sessions.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

/// A queue for as many datagrams as arrive while the owner is busy for some milliseconds.
pub(crate) fn queue() -> (ToOwner, FromWorkers) {
    let (sender, receiver) = sync_channel(CAPACITY);
    let strangers = Arc::new(AtomicUsize::new(0));
    let to_owner = ToOwner { sender, strangers: Arc::clone(&strangers) };
    (to_owner, FromWorkers { receiver, strangers })
}

/// A worker's end.
#[derive(Clone, Debug)]
pub(crate) struct ToOwner {
    sender: SyncSender<Message>,
    strangers: Arc<AtomicUsize>,
}

/// The owner's end.
pub(crate) struct FromWorkers {
    receiver: Receiver<Message>,
    strangers: Arc<AtomicUsize>,
}

/// A datagram for the owner.
pub(crate) struct Letter {
    pub(crate) from: SocketAddr,
    /// Whether the forwarder has counted it as dropped; it is shown to the owner for a hint.
    is_stranger: bool,
    len: usize,
    bytes: [u8; DATAGRAM_MAX],
}

#[expect(clippy::large_enum_variant, reason = "the queue's memory is its own; nothing allocates")]
enum Message {
    Letter(Letter),
    Wake,
}

impl ToOwner {
    /// Hands over a control datagram; `false` if the queue is full.
    #[must_use]
    pub(crate) fn control(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        let Some(letter) = Letter::new(from, bytes, false) else { return false };
        self.sender.try_send(Message::Letter(letter)).is_ok()
    }

    /// Shows a datagram that came from no live session, unless there are many such: whoever sends
    /// these must not keep those out who want to bind.
    pub(crate) fn stranger(&self, from: SocketAddr, bytes: &[u8]) {
        if self.strangers.load(Ordering::Relaxed) >= STRANGERS_MAX {
            return;
        }
        let Some(letter) = Letter::new(from, bytes, true) else { return };
        self.strangers.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(Message::Letter(letter)).is_err() {
            self.strangers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends the owner's wait.
    pub(crate) fn wake(&self) {
        match self.sender.try_send(Message::Wake) {
            // With a full queue, or gone, it does not wait.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl FromWorkers {
    /// The next datagram; `None` if none comes in that time, or it is woken.
    pub(crate) fn next(&self, wait: Duration) -> Option<Letter> {
        match self.receiver.recv_timeout(wait) {
            Ok(Message::Letter(letter)) => {
                if letter.is_stranger {
                    self.strangers.fetch_sub(1, Ordering::Relaxed);
                }
                Some(letter)
            }
            Ok(Message::Wake) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                None
            }
        }
    }
}

impl FromWorkers {
    /// All that is there now, past every wake.
    pub(crate) fn rest(&self) -> impl Iterator<Item = Letter> {
        self.receiver.try_iter().filter_map(|message| match message {
            Message::Letter(letter) => Some(letter),
            Message::Wake => None,
        })
    }
}

impl Letter {
    /// The datagram, which its reader may overwrite.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    /// `None` if it is longer than any datagram.
    fn new(from: SocketAddr, datagram: &[u8], is_stranger: bool) -> Option<Self> {
        let mut bytes = [0; DATAGRAM_MAX];
        bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(Self { from, is_stranger, len: datagram.len(), bytes })
    }
}

/// A tenth of a second of handshakes.
const CAPACITY: usize = 512;
/// What of it datagrams from unknown sources may take.
const STRANGERS_MAX: usize = CAPACITY / 4;
/// The forwarder lets none pass that is longer.
const DATAGRAM_MAX: usize = waylane_core::wire::DATAGRAM_LEN_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_room_for_who_wants_to_bind() {
        let (workers, owner) = queue();
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        for _ in 0..2 * CAPACITY {
            workers.stranger(from, &[0x80; 40]);
        }
        let bound = (0..2 * CAPACITY).filter(|_| workers.control(from, &[1; 40])).count();
        assert_eq!(bound, CAPACITY - STRANGERS_MAX);
        let mut taken = 0;
        while let Some(mut letter) = owner.next(Duration::ZERO) {
            assert_eq!((letter.from, letter.bytes_mut().len()), (from, 40));
            taken += 1;
        }
        assert_eq!(taken, CAPACITY);
        workers.stranger(from, &[0x80; 40]);
        assert!(owner.next(Duration::ZERO).is_some(), "there is room for them again");
    }

    #[test]
    fn a_wake_is_no_datagram() {
        let (workers, owner) = queue();
        workers.wake();
        assert!(owner.next(Duration::from_secs(5)).is_none());
    }
}

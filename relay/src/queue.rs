//! The bounded way of control datagrams from the workers to the owner of the sessions.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

/// A queue for as many datagrams as arrive while the owner is busy for some milliseconds.
pub(crate) fn queue() -> (ToOwner, FromWorkers) {
    let (sender, receiver) = sync_channel(CAPACITY);
    let waiting: Arc<[AtomicUsize; 3]> = Arc::default();
    let to_owner = ToOwner { sender, waiting: Arc::clone(&waiting) };
    (to_owner, FromWorkers { receiver, waiting })
}

/// A worker's end.
#[derive(Clone, Debug)]
pub(crate) struct ToOwner {
    sender: SyncSender<Message>,
    /// How many of each kind of sender wait.
    waiting: Arc<[AtomicUsize; 3]>,
}

/// The owner's end.
pub(crate) struct FromWorkers {
    receiver: Receiver<Message>,
    waiting: Arc<[AtomicUsize; 3]>,
}

/// Whose datagram is handed over. None of them takes the room of those before: sessions stay alive
/// however many want to begin one, and these get in however much comes for players from nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    /// It comes from where a live session is.
    Session = 0,
    /// From elsewhere, but for the relay itself.
    Newcomer = 1,
    /// From elsewhere, for a player: the forwarder has counted it as dropped, and the owner may
    /// answer with a hint.
    Stranger = 2,
}

/// A datagram for the owner.
pub(crate) struct Letter {
    pub(crate) from: SocketAddr,
    sender: Sender,
    len: usize,
    bytes: [u8; DATAGRAM_MAX],
}

#[expect(clippy::large_enum_variant, reason = "the queue's memory is its own; nothing allocates")]
enum Message {
    Letter(Letter),
    Wake,
}

impl ToOwner {
    /// Hands over a datagram; `false` if there is no room for it.
    #[must_use]
    pub(crate) fn hand_over(&self, sender: Sender, from: SocketAddr, bytes: &[u8]) -> bool {
        let waiting = &self.waiting[sender as usize];
        if waiting.load(Ordering::Relaxed) >= ROOM[sender as usize] {
            return false;
        }
        let Some(letter) = Letter::new(from, bytes, sender) else { return false };
        waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.sender.try_send(Message::Letter(letter)).is_ok();
        if !taken {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        taken
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
                self.waiting[letter.sender as usize].fetch_sub(1, Ordering::Relaxed);
                Some(letter)
            }
            Ok(Message::Wake) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                None
            }
        }
    }

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
    fn new(from: SocketAddr, datagram: &[u8], sender: Sender) -> Option<Self> {
        let mut bytes = [0; DATAGRAM_MAX];
        bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(Self { from, sender, len: datagram.len(), bytes })
    }
}

/// A fifth of a second of handshakes.
const CAPACITY: usize = 1024;
/// What of it each kind of [`Sender`] may take.
const ROOM: [usize; 3] = [CAPACITY, CAPACITY / 2, CAPACITY / 4];
/// The forwarder lets none pass that is longer.
const DATAGRAM_MAX: usize = waylane_core::wire::DATAGRAM_LEN_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_finds_room_however_many_others_there_are() {
        let (workers, owner) = queue();
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        for _ in 0..2 {
            let taken = [Sender::Stranger, Sender::Newcomer, Sender::Session].map(|sender| {
                let handed = |_: &usize| workers.hand_over(sender, from, &[1; 40]);
                (0..2 * CAPACITY).filter(handed).count()
            });
            assert_eq!(taken, [CAPACITY / 4, CAPACITY / 2, CAPACITY / 4]);
            let mut waiting = 0;
            while let Some(mut letter) = owner.next(Duration::ZERO) {
                assert_eq!((letter.from, letter.bytes_mut().len()), (from, 40));
                waiting += 1;
            }
            assert_eq!(waiting, CAPACITY);
        }
    }

    #[test]
    fn a_wake_is_no_datagram() {
        let (workers, owner) = queue();
        workers.wake();
        assert!(owner.next(Duration::from_secs(5)).is_none());
    }
}

//! Strangers who know the invite's secret and wait for the application's word.

use crate::connection::RelayIndex;
use crate::id::PeerId;
use crate::route::Route;
use crate::time::Instant;

/// One stranger's request: their first message is kept, so that it can be answered at once when
/// the application accepts.
#[derive(Default)]
pub struct RequestSlot {
    pub(super) held: Option<Held>,
}

pub(super) struct Held {
    pub(super) id: PeerId,
    pub(super) route: Route,
    pub(super) relay: RelayIndex,
    pub(super) expires: Instant,
    pub(super) told: bool,
    pub(super) datagram: heapless::Vec<u8, DATAGRAM_LEN_MAX>,
}

/// A first message with the longest route is shorter than this.
pub(super) const DATAGRAM_LEN_MAX: usize = 448;

//! Control datagrams under the keys of a hop.

use super::answering::Dropped;
use super::pending::HopKeys;
use crate::crypto::{Crypto, TAG_LEN};
use crate::id::SessionId;
use crate::wire::hop::{self, ControlMessage};

/// Writes a sealed control datagram and returns its length.
pub(super) fn seal_control<C: Crypto>(
    keys: &HopKeys,
    session: SessionId,
    counter: u32,
    message: ControlMessage,
    out: &mut [u8],
) -> Option<usize> {
    let len = message.emit(out.get_mut(hop::Control::PAYLOAD_OFFSET..)?).ok()?;
    seal_written::<C>(keys, session, counter, len, out)
}

/// Makes a sealed control datagram of a message of `len` bytes that stands in its place already.
pub(super) fn seal_written<C: Crypto>(
    keys: &HopKeys,
    session: SessionId,
    counter: u32,
    len: usize,
    out: &mut [u8],
) -> Option<usize> {
    let offset = hop::Control { session, counter }.emit(out).ok()?;
    let end = offset + len + TAG_LEN;
    let (header, sealed) = out.get_mut(..end)?.split_at_mut_checked(offset)?;
    C::seal(&keys.seal_key::<C>(), u64::from(counter), header, sealed);
    Some(end)
}

/// The message in a control datagram, if it opens under these keys.
///
/// Opens a copy: the datagram may have to be tried under other keys, and its end may go into a
/// hint.
pub(super) fn open_control<C: Crypto>(
    keys: &HopKeys,
    counter: u32,
    bytes: &[u8],
) -> Result<Option<ControlMessage>, Dropped> {
    let mut copy = [0; hop::Control::LEN_MAX];
    let copy = copy.get_mut(..bytes.len()).ok_or(Dropped::Malformed)?;
    copy.copy_from_slice(bytes);
    let (header, sealed) =
        copy.split_at_mut_checked(hop::Control::PAYLOAD_OFFSET).ok_or(Dropped::Malformed)?;
    let key = keys.open_key::<C>();
    if C::open(&key, u64::from(counter), header, sealed).is_err() {
        return Ok(None);
    }
    let plain = sealed
        .len()
        .checked_sub(TAG_LEN)
        .and_then(|len| sealed.get(..len))
        .ok_or(Dropped::Malformed)?;
    ControlMessage::parse(plain).map(Some).map_err(|_| Dropped::Malformed)
}

//! Heartbeats: small unreliable messages by which both sides see how the link does while nobody
//! types.

/// Numbers the beats to one peer and counts those that arrive from it.
#[derive(Default)]
pub(super) struct Beats {
    sent: u32,
    /// The newest number received; `None` before the first.
    newest: Option<u32>,
    /// Bit `n`: the beat `n` before the newest arrived.
    arrived: u128,
    /// How many bits of `arrived` mean something.
    span: u32,
    /// What the other side says it has lost of ours, in per mille.
    lost_there: Option<u16>,
}

/// Bytes of a beat.
pub(super) const BEAT_LEN: usize = 6;

impl Beats {
    /// The next beat to send.
    pub(super) fn next(&mut self) -> [u8; BEAT_LEN] {
        let [a, b, c, d] = self.sent.to_le_bytes();
        let [e, f] = self.lost_here().unwrap_or(UNKNOWN).to_le_bytes();
        self.sent = self.sent.wrapping_add(1);
        [a, b, c, d, e, f]
    }

    /// A beat arrived; what is none is ignored.
    pub(super) fn take(&mut self, beat: &[u8]) {
        let Ok([a, b, c, d, e, f]) = <[u8; BEAT_LEN]>::try_from(beat) else { return };
        self.count(u32::from_le_bytes([a, b, c, d]));
        let lost_there = u16::from_le_bytes([e, f]);
        self.lost_there = (lost_there <= 1000).then_some(lost_there);
    }

    /// Percent lost on the way here, of the last 128; `None` before the first few.
    pub(super) fn percent_lost_in(&self) -> Option<f64> {
        self.lost_here().map(|per_mille| f64::from(per_mille) / 10.0)
    }

    /// Percent lost on the way to the other side, as it says.
    pub(super) fn percent_lost_out(&self) -> Option<f64> {
        self.lost_there.map(|per_mille| f64::from(per_mille) / 10.0)
    }

    fn count(&mut self, number: u32) {
        let Some(newest) = self.newest else {
            (self.newest, self.arrived, self.span) = (Some(number), 1, 1);
            return;
        };
        if let Some(ahead @ 1..) = number.checked_sub(newest) {
            self.arrived = self.arrived.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = Some(number);
            self.span = self.span.saturating_add(ahead).min(u128::BITS);
        } else if let Some(bit) = 1u128.checked_shl(newest - number) {
            // Late, but here. Before the first counted one it changes nothing.
            self.arrived |= bit;
        }
    }

    /// Per mille lost on the way here.
    fn lost_here(&self) -> Option<u16> {
        if self.span < ENOUGH {
            return None;
        }
        let counted = u128::MAX >> (u128::BITS - self.span);
        let lost = self.span - (self.arrived & counted).count_ones();
        u16::try_from(lost * 1000 / self.span).ok()
    }
}

const UNKNOWN: u16 = u16::MAX;
/// A share of fewer beats says nothing.
const ENOUGH: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(arrivals: impl IntoIterator<Item = u32>) -> Beats {
        let mut sender = Beats::default();
        let mut beats = Beats::default();
        let sent: Vec<_> = (0..300).map(|_| sender.next()).collect();
        arrivals.into_iter().for_each(|n| beats.take(&sent[n as usize]));
        beats
    }

    #[test]
    fn losses_are_gaps() {
        assert_eq!(after(0..4).percent_lost_in(), None);
        assert_eq!(after(0..100).percent_lost_in(), Some(0.0));
        assert_eq!(after((0..101).step_by(2)).percent_lost_in(), Some(49.5));
        // Only the last 128 count; what comes late or twice is there once.
        assert_eq!(after((0..50).chain(150..300)).percent_lost_in(), Some(0.0));
        assert_eq!(after([0, 1, 3, 2, 2, 4]).percent_lost_in(), Some(0.0));
        // A long silence leaves nothing of what was before.
        assert_eq!(after([0, 299]).percent_lost_in(), Some(99.2));
    }

    #[test]
    fn each_side_tells_the_other() {
        let mut beats = after((0..101).step_by(2));
        let mut other = Beats::default();
        assert_eq!(other.percent_lost_out(), None);
        other.take(&beats.next());
        assert_eq!(other.percent_lost_out(), Some(49.5));
        other.take(&Beats::default().next());
        assert_eq!(other.percent_lost_out(), None);
        other.take(b"no");
    }
}

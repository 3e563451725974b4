//! What one sender may send through the relay.

/// A sender's budget: two token buckets, packets and bytes, refilled by the millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Packets per second.
    pub packets_per_second: u32,
    /// Bytes per second of UDP payload; counted by whole bytes per millisecond.
    pub bytes_per_second: u32,
    /// How many milliseconds of budget may be saved up.
    pub burst_ms: u32,
}

impl Budget {
    /// Whether the buckets' words can hold the budget and every datagram fits the burst.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        let fits_words = self.packets_per_second.checked_mul(self.burst_ms).is_some()
            && (self.bytes_per_second / 1000).checked_mul(self.burst_ms).is_some();
        fits_words && self.packets_full() >= PACKET && self.bytes_full() >= LARGEST_DATAGRAM
    }

    pub(crate) const fn packets_full(&self) -> u32 {
        self.packets_per_second.saturating_mul(self.burst_ms)
    }

    pub(crate) const fn bytes_full(&self) -> u32 {
        (self.bytes_per_second / 1000).saturating_mul(self.burst_ms)
    }

    /// What `packets` (thousandths) and `bytes` become after `elapsed_ms`.
    pub(crate) fn refill(&self, packets: u32, bytes: u32, elapsed_ms: u32) -> (u32, u32) {
        let elapsed = elapsed_ms.min(self.burst_ms);
        let more_packets = self.packets_per_second.saturating_mul(elapsed);
        let more_bytes = (self.bytes_per_second / 1000).saturating_mul(elapsed);
        (
            packets.saturating_add(more_packets).min(self.packets_full()),
            bytes.saturating_add(more_bytes).min(self.bytes_full()),
        )
    }

    /// What is left after one packet of `length` bytes; `None` if either bucket is too empty.
    pub(crate) fn take(&self, packets: u32, bytes: u32, length: u32) -> Option<(u32, u32)> {
        Some((packets.checked_sub(PACKET)?, bytes.checked_sub(length)?))
    }
}

impl Default for Budget {
    /// 10,000 packets and 12 MB a second, a quarter of a second saved up.
    fn default() -> Self {
        Self { packets_per_second: 10_000, bytes_per_second: 12_000_000, burst_ms: 250 }
    }
}

/// One packet in the packet bucket's unit, so that a rate per second refills by the millisecond.
const PACKET: u32 = 1000;
const LARGEST_DATAGRAM: u32 = 1472;

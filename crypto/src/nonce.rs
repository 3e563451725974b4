//! Noise's nonce layouts (rev. 34, §12).

use waylane_core::crypto::Suite;

/// The 12 bytes of nonce `number`: 4 zero bytes, then 8 in the suite's byte order.
pub(crate) const fn layout(suite: Suite, number: u64) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = match suite {
        Suite::AesGcm => number.to_be_bytes(),
        Suite::ChaChaPoly => number.to_le_bytes(),
    };
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

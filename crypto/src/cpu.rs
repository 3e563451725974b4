//! What this machine does well.

use waylane_core::crypto::Suites;

/// AES-GCM only where the CPU has its instructions: without them it is slow, and in most
/// implementations its timing tells of the key.
pub(crate) fn suites() -> Suites {
    if has_aes() { Suites::ALL } else { Suites::CHACHA }
}

#[cfg(all(feature = "std", any(target_arch = "x86", target_arch = "x86_64")))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(all(feature = "std", target_arch = "aarch64"))]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(all(
    feature = "std",
    any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")
)))]
const fn has_aes() -> bool {
    // On ARM `aes` covers the carry-less multiplication too.
    cfg!(all(target_feature = "aes", any(target_feature = "pclmulqdq", target_arch = "aarch64")))
}

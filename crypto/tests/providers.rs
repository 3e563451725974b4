//! One suite of tests over every provider, and that the providers agree.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use waylane_core::crypto::{Crypto, OpenError, Secret, Suite, Suites, TAG_LEN};
use waylane_core::id::PublicKey;
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

/// The suite for one provider.
macro_rules! provider {
    ($name:ident, $provider:ty, $new:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn sha256_known_answers() {
                super::sha256_known_answers::<$provider>();
            }

            #[test]
            fn hmac_known_answers() {
                super::hmac_known_answers::<$provider>();
            }

            #[test]
            fn x25519_known_answers() {
                super::x25519_known_answers::<$provider>();
            }

            #[test]
            fn low_order_keys_are_refused() {
                super::low_order_keys_are_refused::<$provider>();
            }

            #[test]
            fn aes_gcm_known_answers() {
                super::aes_gcm_known_answers::<$provider>();
            }

            #[test]
            fn chacha_poly_known_answer() {
                super::chacha_poly_known_answer::<$provider>();
            }

            #[test]
            fn what_is_sealed_opens() {
                super::what_is_sealed_opens::<$provider>();
            }

            #[test]
            fn a_change_anywhere_is_noticed() {
                super::a_change_anywhere_is_noticed::<$provider>();
            }

            #[test]
            fn shorter_than_a_tag_is_refused() {
                super::shorter_than_a_tag_is_refused::<$provider>();
            }

            #[test]
            fn randomness_and_suites() {
                super::randomness_and_suites($new);
            }
        }
    };
}

provider!(ring_seeded, Ring<Seeded>, Ring::with_random(Seeded::new(7)));
provider!(ring_system, Ring, Ring::new());
provider!(pure_seeded, Pure<Seeded>, Pure::with_random(Seeded::new(7)));

#[test]
fn providers_agree() {
    for (suite, len) in [(Suite::AesGcm, 100), (Suite::ChaChaPoly, 1300)] {
        let key = Secret([9; 32]);
        let mut by_ring = vec![5; len];
        let mut by_pure = by_ring.clone();
        let nonce = 0x0102_0304_0506_0708;
        Ring::<Seeded>::seal(&Ring::<Seeded>::seal_key(suite, &key), nonce, b"ad", &mut by_ring);
        Pure::<Seeded>::seal(&Pure::<Seeded>::seal_key(suite, &key), nonce, b"ad", &mut by_pure);
        assert_eq!(by_ring, by_pure);
        let opener = Pure::<Seeded>::open_key(suite, &key);
        assert_eq!(Pure::<Seeded>::open(&opener, nonce, b"ad", &mut by_ring), Ok(()));
    }
}

proptest! {
    /// Lengths around the 128, 192 and 256 bytes at which the pure provider begins another group.
    #[test]
    fn providers_agree_on_anything(
        secret: [u8; 32],
        nonce: u64,
        ad in vec(any::<u8>(), 0..40),
        text in vec(any::<u8>(), 0..1300),
        changed: u16,
    ) {
        let secret = Secret(secret);
        for suite in SUITES {
            let mut by_ring = [&text[..], &[0; TAG_LEN]].concat();
            let mut by_pure = by_ring.clone();
            let key = Ring::<Seeded>::seal_key(suite, &secret);
            Ring::<Seeded>::seal(&key, nonce, &ad, &mut by_ring);
            let key = Pure::<Seeded>::seal_key(suite, &secret);
            Pure::<Seeded>::seal(&key, nonce, &ad, &mut by_pure);
            prop_assert_eq!(&by_ring, &by_pure);

            let opener = Pure::<Seeded>::open_key(suite, &secret);
            let mut tampered = by_ring.clone();
            let bits = tampered.len() * 8;
            let bit = usize::from(changed) % bits;
            tampered[bit / 8] ^= 1 << (bit % 8);
            let refused = Pure::<Seeded>::open(&opener, nonce, &ad, &mut tampered);
            prop_assert_eq!(refused, Err(OpenError));
            prop_assert_eq!(Pure::<Seeded>::open(&opener, nonce, &ad, &mut by_ring), Ok(()));
            prop_assert_eq!(&by_ring[..text.len()], &text[..]);
        }
    }
}

/// Around every number of blocks that is a group for one of the pure provider's back ends, with
/// associated data of none, of part of a block, and of more than the hash takes at once.
#[test]
fn providers_agree_at_every_length() {
    let (ad, secret) = ([0x5a; 70], Secret([6; 32]));
    for suite in SUITES {
        let (ring, pure) =
            (Ring::<Seeded>::seal_key(suite, &secret), Pure::<Seeded>::seal_key(suite, &secret));
        for ad in [0, 12, 16, 70].map(|len| &ad[..len]) {
            for len in 0..=300 {
                let mut by_ring = vec![0xa5; len + TAG_LEN];
                let mut by_pure = by_ring.clone();
                Ring::<Seeded>::seal(&ring, u64::MAX, ad, &mut by_ring);
                Pure::<Seeded>::seal(&pure, u64::MAX, ad, &mut by_pure);
                assert_eq!(by_ring, by_pure, "{suite:?}, {len} bytes, {} before", ad.len());
            }
        }
    }
}

/// The pure provider leaves no plaintext that it does not vouch for.
#[test]
fn what_does_not_open_is_not_decrypted() {
    for suite in SUITES {
        let secret = Secret([8; 32]);
        let plain = [0x77; 400];
        let mut sealed = [&plain[..], &[0; TAG_LEN]].concat();
        Pure::<Seeded>::seal(&Pure::<Seeded>::seal_key(suite, &secret), 1, b"", &mut sealed);
        sealed[400] ^= 1;
        let key = Pure::<Seeded>::open_key(suite, &secret);
        assert_eq!(Pure::<Seeded>::open(&key, 1, b"", &mut sealed), Err(OpenError));
        assert!(sealed.windows(8).all(|bytes| bytes != &plain[..8]));
    }
}

#[test]
fn the_same_seed_gives_every_provider_the_same_bytes() {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    Ring::with_random(Seeded::new(3)).random(&mut a);
    Pure::with_random(Seeded::new(3)).random(&mut b);
    assert_eq!(a, b);
}

/// FIPS 180-2, appendix B.
fn sha256_known_answers<C: Crypto>() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex(&C::sha256(&[b"abc"])), expected);
    assert_eq!(hex(&C::sha256(&[b"a", b"", b"bc"])), expected);
    assert_eq!(
        hex(&C::sha256(&[b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"])),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
    assert_eq!(
        hex(&C::sha256(&[])),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

/// RFC 4231, test cases 1, 2 and 6.
fn hmac_known_answers<C: Crypto>() {
    assert_eq!(
        hex(&C::hmac_sha256(&[0x0b; 20], &[b"Hi There"])),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    assert_eq!(
        hex(&C::hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        hex(&C::hmac_sha256(
            &[0xaa; 131],
            &[b"Test Using Larger Than Block-Size Key - Hash Key First"]
        )),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

/// RFC 7748 §5.2 and §6.1.
fn x25519_known_answers<C: Crypto>() {
    let secret = |text| Secret(bytes(text));
    let shared = C::x25519(
        &secret("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        &PublicKey(bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")),
    );
    assert_eq!(
        hex(&shared.unwrap().0),
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    );
    let alice = secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let alice_public = C::x25519_public(&alice);
    let bob_public = C::x25519_public(&bob);
    assert_eq!(
        hex(&alice_public.0),
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    );
    assert_eq!(
        hex(&bob_public.0),
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    );
    let expected = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_eq!(hex(&C::x25519(&alice, &bob_public).unwrap().0), expected);
    assert_eq!(hex(&C::x25519(&bob, &alice_public).unwrap().0), expected);
}

/// The points of order 1, 2, 4 and 8 (RFC 7748 §6.1; the list is Bernstein's).
fn low_order_keys_are_refused<C: Crypto>() {
    for text in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert!(C::x25519(&Secret([0x42; 32]), &PublicKey(bytes(text))).is_none(), "{text}");
    }
}

/// "The Galois/Counter Mode of Operation", appendix B, test cases 13 and 14.
fn aes_gcm_known_answers<C: Crypto>() {
    let key = C::seal_key(Suite::AesGcm, &Secret([0; 32]));
    let mut empty = [0; TAG_LEN];
    C::seal(&key, 0, b"", &mut empty);
    assert_eq!(hex(&empty), "530f8afbc74536b9a963b4f1c4cb738b");
    let mut block = [0; 16 + TAG_LEN];
    C::seal(&key, 0, b"", &mut block);
    assert_eq!(hex(&block), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

/// RFC 8439, appendix A.5: its nonce begins with the 4 zero bytes that ours always has.
fn chacha_poly_known_answer<C: Crypto>() {
    let secret = Secret(bytes("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"));
    let ad: [u8; 12] = bytes("f33388860000000000004e91");
    let nonce = u64::from_le_bytes(bytes("0102030405060708"));
    let text = "Internet-Drafts are draft documents valid for a maximum of six months and may be \
                updated, replaced, or obsoleted by other documents at any time. It is \
                inappropriate to use Internet-Drafts as reference material or to cite them other \
                than as /\u{201c}work in progress./\u{201d}";
    let mut buffer = [text.as_bytes(), &[0; TAG_LEN]].concat();
    C::seal(&C::seal_key(Suite::ChaChaPoly, &secret), nonce, &ad, &mut buffer);
    assert_eq!(hex(&buffer[..16]), "64a0861575861af460f062c79be643bd");
    assert_eq!(hex(&buffer[text.len()..]), "eead9d67890cbb22392336fea1851f38");
    let key = C::open_key(Suite::ChaChaPoly, &secret);
    assert_eq!(C::open(&key, nonce, &ad, &mut buffer), Ok(()));
    assert_eq!(&buffer[..text.len()], text.as_bytes());
}

fn what_is_sealed_opens<C: Crypto>() {
    for suite in SUITES {
        let secret = Secret([3; 32]);
        let (sealer, opener) = (C::seal_key(suite, &secret), C::open_key(suite, &secret));
        for len in (0..=80).chain([1200, 1456, 65_000]) {
            let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut buffer = [&plain[..], &[0; TAG_LEN]].concat();
            C::seal(&sealer, u64::MAX - 1 - len as u64, b"header", &mut buffer);
            assert!(len < 16 || buffer[..len] != plain[..]);
            C::open(&opener, u64::MAX - 1 - len as u64, b"header", &mut buffer).unwrap();
            assert_eq!(buffer[..len], plain[..]);
        }
    }
}

fn a_change_anywhere_is_noticed<C: Crypto>() {
    for suite in SUITES {
        let secret = Secret([4; 32]);
        let mut sealed = [7; 40 + TAG_LEN];
        C::seal(&C::seal_key(suite, &secret), 5, b"header", &mut sealed);
        let key = C::open_key(suite, &secret);
        let open = |nonce, ad: &[u8], mut buffer: Vec<u8>| C::open(&key, nonce, ad, &mut buffer);

        assert_eq!(open(5, b"header", sealed.to_vec()), Ok(()));
        for place in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.to_vec();
                changed[place] ^= 1 << bit;
                assert_eq!(open(5, b"header", changed), Err(OpenError), "byte {place} bit {bit}");
            }
        }
        for place in 0..6 {
            let mut ad = *b"header";
            ad[place] ^= 1;
            assert_eq!(open(5, &ad, sealed.to_vec()), Err(OpenError), "header byte {place}");
        }
        assert_eq!(open(5, b"", sealed.to_vec()), Err(OpenError));
        for nonce in [4, 6, 5 << 8, 5 << 56, u64::MAX] {
            assert_eq!(open(nonce, b"header", sealed.to_vec()), Err(OpenError), "nonce {nonce}");
        }
        for len in 0..sealed.len() {
            assert_eq!(open(5, b"header", sealed[..len].to_vec()), Err(OpenError), "cut to {len}");
        }
        let mut longer = sealed.to_vec();
        longer.push(0);
        assert_eq!(open(5, b"header", longer), Err(OpenError));
        let other_key = C::open_key(suite, &Secret([5; 32]));
        assert_eq!(C::open(&other_key, 5, b"header", &mut sealed.clone()), Err(OpenError));
        let other_suite = if suite == SUITES[0] { SUITES[1] } else { SUITES[0] };
        let other_key = C::open_key(other_suite, &secret);
        assert_eq!(C::open(&other_key, 5, b"header", &mut sealed), Err(OpenError));
    }
}

fn shorter_than_a_tag_is_refused<C: Crypto>() {
    for suite in SUITES {
        let key = C::open_key(suite, &Secret([0; 32]));
        for len in 0..TAG_LEN {
            assert_eq!(C::open(&key, 0, b"", &mut [0; TAG_LEN][..len]), Err(OpenError));
        }
    }
}

fn randomness_and_suites<C: Crypto>(mut crypto: C) {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    crypto.random(&mut a);
    crypto.random(&mut b);
    assert_ne!(a, b);
    assert_ne!(a, [0; 32]);
    let suites = crypto.suites();
    assert!(suites == Suites::CHACHA || suites == Suites::ALL);
}

const SUITES: [Suite; 2] = [Suite::AesGcm, Suite::ChaChaPoly];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

//! The provider that protects nothing still does what the endpoints rely on.

use waylane_core::crypto::{Crypto as _, Secret, Suite};
use waylane_core::id::PublicKey;
use waylane_fuzz::toy::Toy;

#[test]
fn keys_agree() {
    let (a, b) = (Secret([1; 32]), Secret([2; 32]));
    let ab = Toy::x25519(&a, &Toy::x25519_public(&b)).unwrap();
    let ba = Toy::x25519(&b, &Toy::x25519_public(&a)).unwrap();
    assert_eq!(ab.0, ba.0);
    assert!(Toy::x25519(&a, &PublicKey([0; 32])).is_none());
}

#[test]
fn parts_do_not_matter() {
    assert_eq!(Toy::sha256(&[b"abcdefghij"]), Toy::sha256(&[b"abc", b"", b"defghij"]));
    assert_ne!(Toy::sha256(&[b"abc"]), Toy::sha256(&[b"abc\0"]));
    assert_ne!(Toy::hmac_sha256(b"k", &[b"ab"]), Toy::hmac_sha256(b"ka", &[b"b"]));
}

#[test]
fn what_was_changed_does_not_open() {
    let key = Toy::seal_key(Suite::AesGcm, &Secret([7; 32]));
    let mut sealed = *b"a text of some length................";
    let text = sealed;
    Toy::seal(&key, 5, b"ad", &mut sealed);
    assert_ne!(sealed[..21], text[..21]);
    for at in 0..sealed.len() {
        let mut changed = sealed;
        changed[at] ^= 1;
        assert!(Toy::open(&key, 5, b"ad", &mut changed).is_err());
    }
    assert!(Toy::open(&key, 6, b"ad", &mut sealed.clone()).is_err());
    assert!(Toy::open(&key, 5, b"bd", &mut sealed.clone()).is_err());
    Toy::open(&key, 5, b"ad", &mut sealed).unwrap();
    assert_eq!(sealed[..21], text[..21]);
}

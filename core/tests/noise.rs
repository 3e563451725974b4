//! Noise IK: published vectors, snow as the other side, and what hostile messages do.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod crypto_support;

use crypto_support::{
    SUITES, from_hex, hex, key_from_hex, over_every_provider, read_vectors, suite_named,
};
use waylane_core::crypto::{Crypto, Secret, Suite, TAG_LEN};
use waylane_core::id::PublicKey;
use waylane_core::noise::{
    AwaitResponse, Initiator, KeyPair, MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD, ReadError, Received,
    Reply, Responder, Transport, WriteError,
};
use waylane_crypto::Seeded;
use waylane_crypto::pure::Pure;
use waylane_crypto::ring::Ring;

over_every_provider!(
    published_vectors,
    our_initiator_meets_snow,
    snow_initiator_meets_us,
    largest_payloads_and_a_mixed_index,
    one_step_and_two_steps_agree,
    a_changed_message_1_is_refused,
    a_changed_message_2_is_refused_and_the_true_one_still_opens,
    another_mix_prologue_key_or_suite_is_refused,
    cut_messages_are_refused,
    a_claimed_key_without_its_secret_is_refused,
    low_order_keys_are_refused,
    short_output_is_refused,
);

fn published_vectors<C: Crypto>() {
    let vectors = read_vectors("noise_ik.json");
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let suite = suite_named(vector["protocol_name"].as_str().unwrap());
        let pair = |name: &str| KeyPair::from_secret::<C>(Secret(key_from_hex(&vector[name])));
        let messages: Vec<(Vec<u8>, Vec<u8>)> = vector["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| (from_hex(&message["payload"]), from_hex(&message["ciphertext"])))
            .collect();
        let prologue = from_hex(&vector["init_prologue"]);
        let (a, b) = (pair("init_static"), pair("resp_static"));
        assert_eq!(b.public().0, key_from_hex(&vector["init_remote_static"]));

        let mut out = [0; 256];
        let (payload, expected) = &messages[0];
        let ss = a.agree::<C>(b.public()).unwrap();
        let (len, waiting) = Initiator::<C>::new(suite, &prologue, &a, b.public(), &ss)
            .write_message_1(pair("init_ephemeral"), payload, &mut out)
            .unwrap();
        assert_eq!(hex(&out[..len]), hex(expected));
        let received =
            Responder::<C>::new(suite, &prologue, &b).read_message_1(&mut out[..len]).unwrap();
        assert_eq!(&received.remote, a.public());
        assert_eq!(out[received.payload], payload[..]);

        let (payload, expected) = &messages[1];
        let (len, ours) = received
            .reply
            .write_message_2(&pair("resp_ephemeral"), &[], payload, &mut out)
            .unwrap();
        assert_eq!(hex(&out[..len]), hex(expected));
        let (range, theirs) = waiting.read_message_2(&a, &[], &mut out[..len]).unwrap();
        assert_eq!(out[range], payload[..]);
        assert_eq!(ours.handshake_hash, key_from_hex(&vector["handshake_hash"]));
        assert_same(&ours, &theirs);

        let keys = [&ours.initiator_to_responder, &ours.responder_to_initiator];
        for (index, (payload, expected)) in messages[2..].iter().enumerate() {
            let key = C::seal_key(suite, keys[index % 2]);
            let mut buffer = [&payload[..], &[0; TAG_LEN]].concat();
            C::seal(&key, index as u64 / 2, &[], &mut buffer);
            assert_eq!(hex(&buffer), hex(expected));
        }
    }
}

fn our_initiator_meets_snow<C: Crypto>() {
    for suite in SUITES {
        let (a, b) = (pair::<C>(1), pair::<C>(2));
        let mut snow = snow::Builder::new(snow_name(suite).parse().unwrap())
            .prologue(b"prologue")
            .unwrap()
            .local_private_key(&b.secret().0)
            .unwrap()
            .build_responder()
            .unwrap();
        let (mut wire, mut plain) = ([0; 1500], [0; 1500]);

        let (len, waiting) = initiate::<C>(suite, b"prologue", b"to snow", &mut wire);
        let plain_len = snow.read_message(&wire[..len], &mut plain).unwrap();
        assert_eq!(&plain[..plain_len], b"to snow");
        assert_eq!(snow.get_remote_static().unwrap(), a.public().0);

        let len = snow.write_message(b"from snow", &mut wire).unwrap();
        let (range, transport) = waiting.read_message_2(&a, &[], &mut wire[..len]).unwrap();
        assert_eq!(&wire[range], b"from snow");
        assert_eq!(snow.get_handshake_hash(), transport.handshake_hash);

        let snow = snow.into_transport_mode().unwrap();
        let Transport { initiator_to_responder, responder_to_initiator, .. } = transport;
        exchange::<C>(suite, &initiator_to_responder, &responder_to_initiator, snow);
    }
}

fn snow_initiator_meets_us<C: Crypto>() {
    for suite in SUITES {
        let (a, b) = (pair::<C>(1), pair::<C>(2));
        let mut snow = snow::Builder::new(snow_name(suite).parse().unwrap())
            .prologue(b"prologue")
            .unwrap()
            .local_private_key(&a.secret().0)
            .unwrap()
            .remote_public_key(&b.public().0)
            .unwrap()
            .build_initiator()
            .unwrap();
        let (mut wire, mut plain) = ([0; 1500], [0; 1500]);

        let len = snow.write_message(b"from snow", &mut wire).unwrap();
        let received = respond::<C>(suite, b"prologue", &mut wire[..len]).unwrap();
        assert_eq!(&received.remote, a.public());
        assert_eq!(&wire[received.payload], b"from snow");

        let (len, transport) =
            received.reply.write_message_2(&pair::<C>(4), &[], b"to snow", &mut wire).unwrap();
        let plain_len = snow.read_message(&wire[..len], &mut plain).unwrap();
        assert_eq!(&plain[..plain_len], b"to snow");
        assert_eq!(snow.get_handshake_hash(), transport.handshake_hash);

        let snow = snow.into_transport_mode().unwrap();
        let Transport { initiator_to_responder, responder_to_initiator, .. } = transport;
        exchange::<C>(suite, &responder_to_initiator, &initiator_to_responder, snow);
    }
}

/// Transport messages both ways with snow, with empty associated data.
fn exchange<C: Crypto>(
    suite: Suite,
    ours: &Secret,
    theirs: &Secret,
    mut snow: snow::TransportState,
) {
    let (sealer, opener) = (C::seal_key(suite, ours), C::open_key(suite, theirs));
    for nonce in 0..300 {
        let text = format!("message {nonce}");
        let mut plain = [0; 64];
        let mut wire = [text.as_bytes(), &[0; TAG_LEN]].concat();
        C::seal(&sealer, nonce, &[], &mut wire);
        let len = snow.read_message(&wire, &mut plain).unwrap();
        assert_eq!(&plain[..len], text.as_bytes());

        let len = snow.write_message(text.as_bytes(), &mut wire).unwrap();
        C::open(&opener, nonce, &[], &mut wire[..len]).unwrap();
        assert_eq!(&wire[..text.len()], text.as_bytes());
    }
}

fn largest_payloads_and_a_mixed_index<C: Crypto>() {
    for suite in SUITES {
        for (len_1, len_2) in [(0, 0), (1, 1300), (1300, 1), (1472 - 96, 1472 - 48)] {
            let (payload_1, payload_2) = (vec![1; len_1], vec![2; len_2]);
            let mut wire = [0xee; 1500];
            let (len, waiting) = initiate::<C>(suite, b"", &payload_1, &mut wire);
            assert_eq!(len, len_1 + MESSAGE_1_OVERHEAD);
            assert_eq!(wire[len], 0xee, "nothing is written beyond the message");
            let received = respond::<C>(suite, b"", &mut wire[..len]).unwrap();
            assert_eq!(wire[received.payload], payload_1);
            let (len, ours) = reply(received.reply, &[7, 8], &payload_2, &mut wire);
            assert_eq!(len, len_2 + MESSAGE_2_OVERHEAD);
            let (range, theirs) =
                waiting.read_message_2(&pair::<C>(1), &[7, 8], &mut wire[..len]).unwrap();
            assert_eq!(wire[range], payload_2);
            assert_same(&ours, &theirs);
            assert_ne!(ours.initiator_to_responder.0, ours.responder_to_initiator.0);
        }
    }
}

fn one_step_and_two_steps_agree<C: Crypto>() {
    let (a, b) = (pair::<C>(1), pair::<C>(2));
    let mut once = [0; 300];
    let (len, _) = initiate::<C>(Suite::ChaChaPoly, b"p", b"hello", &mut once);
    let mut twice = once;
    let received = respond::<C>(Suite::ChaChaPoly, b"p", &mut once[..len]).unwrap();

    let step =
        Responder::<C>::new(Suite::ChaChaPoly, b"p", &b).read_static(&mut twice[..len]).unwrap();
    assert_eq!(step.remote(), a.public());
    let kept = b.agree::<C>(a.public()).unwrap();
    let stepped = step.read_payload(&kept).unwrap();
    assert_eq!(stepped.remote, received.remote);
    assert_eq!(once[received.payload], twice[stepped.payload]);

    let (_, by_one) = reply(received.reply, &[], b"", &mut once);
    let (_, by_two) = reply(stepped.reply, &[], b"", &mut twice);
    assert_same(&by_one, &by_two);
}

fn a_changed_message_1_is_refused<C: Crypto>() {
    for suite in SUITES {
        let mut wire = [0; 200];
        let (len, _) = initiate::<C>(suite, b"p", b"hello", &mut wire);
        for place in 0..len {
            // The top bit of an X25519 key is ignored by the curve, but not by the hash.
            for change in [0x01, 0x80] {
                let mut changed = wire;
                changed[place] ^= change;
                let error = respond::<C>(suite, b"p", &mut changed[..len]).err();
                assert_eq!(error, Some(ReadError::Forged), "byte {place}");
            }
        }
    }
}

fn a_changed_message_2_is_refused_and_the_true_one_still_opens<C: Crypto>() {
    for suite in SUITES {
        let a = pair::<C>(1);
        let mut wire = [0; 200];
        let (len, waiting) = initiate::<C>(suite, b"p", b"hello", &mut wire);
        let received = respond::<C>(suite, b"p", &mut wire[..len]).unwrap();
        let (len, ours) = reply(received.reply, b"ix", b"welcome", &mut wire);
        for place in 0..len {
            for change in [0x01, 0x80] {
                let mut changed = wire;
                changed[place] ^= change;
                let error = waiting.read_message_2(&a, b"ix", &mut changed[..len]).err();
                assert_eq!(error, Some(ReadError::Forged), "byte {place}");
            }
        }
        let (range, theirs) = waiting.read_message_2(&a, b"ix", &mut wire[..len]).unwrap();
        assert_eq!(&wire[range], b"welcome");
        assert_same(&ours, &theirs);
    }
}

fn another_mix_prologue_key_or_suite_is_refused<C: Crypto>() {
    let (a, suite) = (pair::<C>(1), Suite::ChaChaPoly);
    let mut wire = [0; 200];
    let (len, waiting) = initiate::<C>(suite, b"p", b"hello", &mut wire);
    let forged = Some(ReadError::Forged);

    assert_eq!(respond::<C>(suite, b"q", &mut { wire }[..len]).err(), forged);
    assert_eq!(respond::<C>(suite, b"", &mut { wire }[..len]).err(), forged);
    assert_eq!(respond::<C>(Suite::AesGcm, b"p", &mut { wire }[..len]).err(), forged);
    let other = pair::<C>(9);
    let responder = Responder::<C>::new(suite, b"p", &other);
    assert_eq!(responder.read_message_1(&mut { wire }[..len]).err(), forged);

    let received = respond::<C>(suite, b"p", &mut wire[..len]).unwrap();
    let (len, _) = reply(received.reply, b"ix", b"welcome", &mut wire);
    for mix in [&b""[..], b"iy", b"ixx"] {
        assert_eq!(waiting.read_message_2(&a, mix, &mut { wire }[..len]).err(), forged);
    }
    assert_eq!(waiting.read_message_2(&other, b"ix", &mut { wire }[..len]).err(), forged);
    assert!(waiting.read_message_2(&a, b"ix", &mut wire[..len]).is_ok());
}

fn cut_messages_are_refused<C: Crypto>() {
    let (a, suite) = (pair::<C>(1), Suite::AesGcm);
    let mut wire = [0; 200];
    let (len, waiting) = initiate::<C>(suite, b"p", b"hello", &mut wire);
    for cut in 0..len {
        let expected =
            if cut < MESSAGE_1_OVERHEAD { ReadError::Truncated } else { ReadError::Forged };
        let error = respond::<C>(suite, b"p", &mut { wire }[..cut]).err();
        assert_eq!(error, Some(expected), "message 1 cut to {cut}");
    }
    assert!(respond::<C>(suite, b"p", &mut { wire }[..=len]).is_err());
    let received = respond::<C>(suite, b"p", &mut wire[..len]).unwrap();
    let (len, _) = reply(received.reply, b"", b"welcome", &mut wire);
    for cut in 0..len {
        let expected =
            if cut < MESSAGE_2_OVERHEAD { ReadError::Truncated } else { ReadError::Forged };
        let error = waiting.read_message_2(&a, b"", &mut { wire }[..cut]).err();
        assert_eq!(error, Some(expected), "message 2 cut to {cut}");
    }
    assert!(waiting.read_message_2(&a, b"", &mut wire[..len]).is_ok());
}

/// Anyone can seal a stranger's public key as `s`; without its secret the payload fails.
fn a_claimed_key_without_its_secret_is_refused<C: Crypto>() {
    let (victim, b, attacker) = (pair::<C>(1), pair::<C>(2), pair::<C>(66));
    let mut wire = [0; 200];
    let wrong = attacker.agree::<C>(b.public()).unwrap();
    let (len, _) = Initiator::<C>::new(Suite::ChaChaPoly, b"p", &victim, b.public(), &wrong)
        .write_message_1(pair::<C>(3), b"hello", &mut wire)
        .unwrap();
    let step =
        Responder::<C>::new(Suite::ChaChaPoly, b"p", &b).read_static(&mut wire[..len]).unwrap();
    assert_eq!(step.remote(), victim.public());
    let right = b.agree::<C>(victim.public()).unwrap();
    assert_eq!(step.read_payload(&right).err(), Some(ReadError::Forged));
}

fn low_order_keys_are_refused<C: Crypto>() {
    let (a, suite, zero) = (pair::<C>(1), Suite::ChaChaPoly, PublicKey([0; 32]));
    let mut wire = [0; 200];
    let initiator = Initiator::<C>::new(suite, b"p", &a, &zero, a.secret());
    let error = initiator.write_message_1(pair::<C>(3), b"", &mut wire).err();
    assert_eq!(error, Some(WriteError::BadKey));

    let (len, waiting) = initiate::<C>(suite, b"p", b"", &mut wire);
    wire[..32].fill(0);
    assert_eq!(respond::<C>(suite, b"p", &mut wire[..len]).err(), Some(ReadError::BadKey));
    let error = waiting.read_message_2(&a, b"", &mut [0; 60]).err();
    assert_eq!(error, Some(ReadError::BadKey));
}

fn short_output_is_refused<C: Crypto>() {
    let (a, b, suite) = (pair::<C>(1), pair::<C>(2), Suite::ChaChaPoly);
    let ss = a.agree::<C>(b.public()).unwrap();
    let mut wire = [0; 200];
    let error = Initiator::<C>::new(suite, b"", &a, b.public(), &ss)
        .write_message_1(pair::<C>(3), b"hello", &mut wire[..MESSAGE_1_OVERHEAD + 4])
        .err();
    assert_eq!(error, Some(WriteError::NoSpace));
    let (len, _) = initiate::<C>(suite, b"", b"hello", &mut wire);
    let received = respond::<C>(suite, b"", &mut wire[..len]).unwrap();
    let out = &mut wire[..MESSAGE_2_OVERHEAD + 4];
    let error = received.reply.write_message_2(&pair::<C>(4), b"", b"hello", out).err();
    assert_eq!(error, Some(WriteError::NoSpace));
}

/// Message 1 from pair 1 to pair 2 with ephemeral 3.
fn initiate<C: Crypto>(
    suite: Suite,
    prologue: &[u8],
    payload: &[u8],
    out: &mut [u8],
) -> (usize, AwaitResponse<C>) {
    let (a, b) = (pair::<C>(1), pair::<C>(2));
    let ss = a.agree::<C>(b.public()).unwrap();
    Initiator::<C>::new(suite, prologue, &a, b.public(), &ss)
        .write_message_1(pair::<C>(3), payload, out)
        .unwrap()
}

/// Message 1 read by pair 2.
fn respond<C: Crypto>(
    suite: Suite,
    prologue: &[u8],
    message: &mut [u8],
) -> Result<Received<C>, ReadError> {
    Responder::<C>::new(suite, prologue, &pair::<C>(2)).read_message_1(message)
}

/// Message 2 with ephemeral 4.
fn reply<C: Crypto>(
    reply: Reply<C>,
    mix: &[u8],
    payload: &[u8],
    out: &mut [u8],
) -> (usize, Transport) {
    reply.write_message_2(&pair::<C>(4), mix, payload, out).unwrap()
}

fn pair<C: Crypto>(seed: u8) -> KeyPair {
    KeyPair::from_secret::<C>(Secret([seed; 32]))
}

fn assert_same(a: &Transport, b: &Transport) {
    assert_eq!(a.handshake_hash, b.handshake_hash);
    assert_eq!(a.initiator_to_responder.0, b.initiator_to_responder.0);
    assert_eq!(a.responder_to_initiator.0, b.responder_to_initiator.0);
}

fn snow_name(suite: Suite) -> &'static str {
    match suite {
        Suite::AesGcm => "Noise_IK_25519_AESGCM_SHA256",
        Suite::ChaChaPoly => "Noise_IK_25519_ChaChaPoly_SHA256",
    }
}

//! A relay whose place the next one takes, in each of the ways that operators run it, under
//! traffic: nobody loses a datagram or a session.

use core::mem::MaybeUninit;
use core::net::SocketAddr;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::thread::JoinHandle;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde_json::Value;
use waylane_admin::{Scrape, fetch};
use waylane_core::relay::HANDOVER_FORMAT;
use waylane_core::wire::hop::RefusedReason;
use waylane_relay::AdminChoice;

use crate::client::data;
use crate::demo::count;
use crate::players::{Player, Relay};
use crate::running::{Running, scratch};
use crate::tokens::Backend;

#[test]
fn an_upgrade_under_traffic_loses_nothing() {
    let mut relay = Relay::start("upgrade", &format!("workers = 2\n{}", handover("upgrade")));
    let (mut alice, bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
    nothing_is_lost(&alice, &bob, || {
        // Once by starting the next one, once by a signal as a service manager would.
        next(&mut relay);
        relay.program.signal("USR2");
        relay.program.out.with("@127.0.0.1:");
        assert_eq!(relay.program.wait().code(), Some(0));
        // It writes where its parent wrote.
        relay.program.err.with("taken over from the relay before");
    });
    assert!(alice.keeps_alive());
    // The last one is nobody's child: it goes when a fourth takes over and is told to stop.
    let (mut last, _) = Relay::run(&relay.file);
    last.signal("INT");
    last.err.with("once more to stop now");
    last.signal("INT");
    assert_eq!(last.wait().code(), Some(0));
}

/// Where a way is not to be had the relay takes another, and says so (`modes.rs`); what it is asked
/// for is what counts here, and that each takes over from each.
#[cfg(target_os = "linux")]
#[test]
fn an_upgrade_loses_nothing_whichever_way_datagrams_are_read() {
    for (name, ways) in [
        ("uring", ["uring", "uring"]),
        ("mmsg", ["mmsg", "mmsg"]),
        ("std", ["std", "std"]),
        ("from-uring", ["uring", "mmsg"]),
        ("to-uring", ["std", "uring"]),
    ] {
        let name = format!("upgrade-{name}");
        let door = handover(&name);
        let settings = |way| format!("workers = 2\nio = \"{way}\"\n{door}");
        let mut relay = Relay::start(&name, &settings(ways[0]));
        let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
        nothing_is_lost(&alice, &bob, || {
            relay.write(&settings(ways[1]));
            next(&mut relay);
        });
        assert!(alice.keeps_alive() && bob.keeps_alive(), "{name}");
    }
}

#[test]
fn tokens_and_their_quotas_go_on_after_an_upgrade() {
    let backend = Backend::new("upgrade-tokens");
    let mut relay = Relay::start(
        "upgrade-token",
        &format!(
            "mode = \"token\"\nregion = \"eu\"\nworkers = 1\ntoken_keys = {:?}\n{}",
            backend.keys,
            handover("upgrade-token")
        ),
    );
    let entry = relay.entry.clone();
    let player = |n: u8, subject: u8| {
        let mut player = Player::unbound(&entry, n);
        let token = backend.token_for(*player.client.key.public(), |claims| {
            (claims.subject, claims.sessions) = ([subject; 16], 1);
        });
        player.client.token = token.as_bytes().to_vec();
        player
    };
    let (mut alice, mut bob) = (player(1, 1).bound(), player(2, 2).bound());
    let [mut sibling, mut stranger] = [player(3, 1), player(4, 4)];
    assert_eq!(sibling.refusal(), RefusedReason::SubjectFull);
    nothing_is_lost(&alice, &bob, || next(&mut relay));
    assert!(alice.keeps_alive() && bob.keeps_alive());
    // The next one knows whose sessions these are, asks for tokens itself, and takes good ones.
    assert_eq!(sibling.refusal(), RefusedReason::SubjectFull);
    let token = core::mem::take(&mut stranger.client.token);
    assert_eq!(stranger.refusal(), RefusedReason::Token);
    stranger.client.token = token;
    alice.reaches(&stranger.bound());
    // With a session its part of the quota goes.
    alice.unbind();
    sibling.bound().reaches(&bob);
}

/// All of 127.0.0.0/8 is this machine's, so each process of this test has an address of its own.
#[cfg(target_os = "linux")]
#[test]
fn the_next_relay_takes_the_admin_port_that_the_settings_name() {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let admin = SocketAddr::from(([127, a, b, c], 9433));
    let settings = format!("admin = \"{admin}\"\n{}", handover("upgrade-admin"));
    let mut relay = Relay::start("upgrade-admin", &settings);
    assert_eq!(fetch(admin, "/live").unwrap(), "live\n");
    next(&mut relay);
    // The one before has ended: whoever answers there is the next one.
    relay.program.err.with(&format!("what it does: http://{admin}/"));
    let metrics = Scrape::parse(&fetch(admin, "/metrics").unwrap()).unwrap();
    assert!(metrics.get("waylane_ready") > 0.0);
}

#[test]
fn the_next_relay_has_an_admin_port_where_the_usual_one_is_another_relays() {
    // If it cannot be had it is taken, which is as good.
    let _taken = TcpListener::bind(AdminChoice::USUAL);
    let mut relay = Relay::start("upgrade-auto", &handover("upgrade-auto"));
    next(&mut relay);
    let told = relay.program.err.with("what it does: http://");
    let admin = told.split(['/', ',']).nth(2).unwrap().parse().unwrap();
    assert_eq!(fetch(admin, "/live").unwrap(), "live\n");
}

#[test]
fn a_program_of_another_format_serves_the_same_players_as_after_a_restart() {
    for format in [HANDOVER_FORMAT - 1, HANDOVER_FORMAT + 1] {
        let door = scratch("format.door");
        let settings = format!("admin = \"127.0.0.1:0\"\nhandover_socket = {door:?}\n");
        let mut relay = Relay::start("format", &settings);
        let (mut alice, mut bob) = (Player::new(&relay.entry, 1), Player::new(&relay.entry, 2));
        let sessions = [alice.client.session, bob.client.session];
        // Two of the demo's players talk all the time.
        let told = relay.program.err.with("what it does: http://");
        let admin = told.split(['/', ',']).nth(2).unwrap().parse().unwrap();
        let entry = relay.entry.to_string();
        let mut demo = Running::start(&["demo", "--json", "--seconds=4", "--relay", &entry]);
        let live = || Scrape::parse(&fetch(admin, "/metrics").unwrap()).unwrap();
        while live().get("waylane_sessions") < 4.0 {}

        let between = as_of_another_format(&door, format);
        let (mut program, entry) = Relay::run(&relay.file);
        assert_eq!(entry, relay.entry);
        program.err.with("writes sessions down in another way");
        assert_eq!(relay.program.wait().code(), Some(0));
        between.join().unwrap();

        // On the same sockets, so that nothing is refused; by their tickets, under the same ids.
        for (player, session) in [(&mut alice, sessions[0]), (&mut bob, sessions[1])] {
            assert!(player.recover() <= 3, "round trips");
            assert_eq!(player.client.session, session);
        }
        alice.reaches(&bob);
        let report: Value = serde_json::from_str(&demo.out.rest()).unwrap();
        assert!(demo.wait().success(), "{report}");
        for player in report["players"].as_array().unwrap() {
            assert_eq!(count(&player["channels"]["1"]["messages_received"]), 28, "{report}");
        }
    }
}

/// Starts the relay that takes this one's place, by the same file; the one before ends.
fn next(relay: &mut Relay) {
    let (program, entry) = Relay::run(&relay.file);
    assert_eq!(entry, relay.entry);
    let mut before = core::mem::replace(&mut relay.program, program);
    assert_eq!(before.wait().code(), Some(0));
    before.err.with("another relay has taken the place of this one");
    relay.program.err.with("taken over from the relay before");
}

/// Sends numbered datagrams all the time that something else takes: none may be lost or overtaken.
fn nothing_is_lost(from: &Player, to: &Player, meanwhile: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let session = to.client.session;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let mut n: u32 = 0;
            loop {
                let last = stop.load(Ordering::Relaxed) || n > 200_000;
                let mut datagram = data(session);
                datagram[8..12].copy_from_slice(&n.to_le_bytes());
                datagram[12] = u8::from(last);
                from.line.socket.send(&datagram).unwrap();
                n += 1;
                if last {
                    return n;
                }
                std::thread::park_timeout(Duration::from_micros(300));
            }
        });
        let received = scope.spawn(|| {
            let mut n: u32 = 0;
            loop {
                let datagram = to.line.receive().expect("nothing is lost");
                assert_eq!(datagram[8..12], n.to_le_bytes(), "none is lost or overtaken");
                n += 1;
                if datagram[12] == 1 {
                    return n;
                }
            }
        });
        // Also when it fails, so that this ends.
        let result = catch_unwind(AssertUnwindSafe(meanwhile));
        stop.store(true, Ordering::Relaxed);
        let (sent, received) = (sent.join(), received.join());
        result.unwrap_or_else(|panic| resume_unwind(panic));
        assert_eq!(received.unwrap(), sent.unwrap());
    });
}

/// Stands before a relay's door, and has the next one that knocks speak of another format, as one
/// that was built before or after would. All else passes, sockets too.
fn as_of_another_format(door: &Path, format: u32) -> JoinHandle<()> {
    let behind = door.with_extension("behind");
    std::fs::rename(door, &behind).unwrap();
    let listener = UnixListener::bind(door).unwrap();
    std::thread::spawn(move || {
        let (next, _) = listener.accept().unwrap();
        let running = UnixStream::connect(&behind).unwrap();
        let mut hello = [0; 44];
        (&next).read_exact(&mut hello).unwrap();
        assert_eq!(hello[8..12], HANDOVER_FORMAT.to_le_bytes());
        hello[8..12].copy_from_slice(&format.to_le_bytes());
        (&running).write_all(&hello).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::io::copy(&mut &next, &mut &running));
            while pass_on(&running, &next) {}
            next.shutdown(Shutdown::Write).unwrap();
        });
    })
}

/// Passes a byte on, and the sockets that come with it; false at the end. Of more bytes at once
/// nobody could tell which of them the sockets came with.
fn pass_on(from: &UnixStream, to: &UnixStream) -> bool {
    let mut bytes = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).unwrap();
    let mut owned: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            owned.extend(fds);
        }
    }
    let fds: Vec<_> = owned.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(&fds)));
    got.bytes > 0 && sendmsg(to, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).is_ok()
}

/// The setting that names the door of the relays of this name.
fn handover(name: &str) -> String {
    format!("handover_socket = {:?}\n", scratch(&format!("{name}.door")).to_str().unwrap())
}

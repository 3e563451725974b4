//! A relay in each of the ways it can talk to the system, also where a container refuses most of
//! them: what it says that it chose, and that real clients get through it.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use crate::demo::{count, demo};
use crate::running::{Running, scratch};

#[test]
fn each_mode_serves_real_clients_on_both_families() {
    thread::scope(|scope| {
        for (io, says) in [
            ("auto", "the cheapest here"),
            ("mmsg", "sockets by mmsg, as asked for"),
            ("uring", "sockets by "),
            ("std", "sockets by std, as asked for"),
        ] {
            scope.spawn(move || {
                for listen in ["127.0.0.1:0", "[::1]:0"] {
                    // IPv6 may be off.
                    if UdpSocket::bind(listen).is_ok() {
                        serves(listen, io, &[says]);
                    }
                }
            });
        }
    });
}

#[test]
fn where_much_is_refused_it_says_so_and_serves() {
    thread::spawn(|| {
        // The programs that this thread starts inherit the filter.
        apply_filter(&strict()).unwrap();
        let refused = "uring is not to be had here: Operation not permitted";
        let mmsg = "sockets by mmsg, the others are refused";
        let plain = ["the system does not segment", "tables in ordinary pages"];
        serves("127.0.0.1:0", "auto", &[plain[0], refused, mmsg, plain[1]]);
        serves("127.0.0.1:0", "uring", &[plain[0], refused, mmsg, plain[1]]);
    })
    .join()
    .unwrap();
}

/// A relay that says all this, in this order, and carries a demo.
fn serves(listen: &str, io: &str, says: &[&str]) {
    let key = scratch(&format!("{io}-{}-{}.key", listen.len(), says.len()));
    let io = format!("--io={io}");
    let listen = format!("--listen={listen}");
    let key = key.to_str().unwrap();
    let mut relay = Running::start(&["relay", "--dev", &listen, &io, "--workers=2", "--key", key]);
    for words in says {
        relay.err.with(words);
    }
    let entry = relay.out.with("@");
    let report = demo(&["--relay", entry.trim()]);
    for player in report["players"].as_array().unwrap() {
        assert_eq!(count(&player["channels"]["1"]["messages_received"]), 14, "{io} {listen}");
        assert!(count(&player["channels"]["0"]["messages_received"]) > 0, "{io} {listen}");
    }
}

/// As strict containers: no `io_uring`, no programs for the kernel, no segmentation nor merging, no
/// say about pages.
fn strict() -> BpfProgram {
    let option = |option: i32| {
        let is = |argument, value: i32| {
            let op = SeccompCmpOp::Eq;
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value as u64).unwrap()
        };
        SeccompRule::new(vec![is(1, libc::SOL_UDP), is(2, option)]).unwrap()
    };
    let rules = BTreeMap::from([
        (libc::SYS_io_uring_setup, vec![]),
        (libc::SYS_bpf, vec![]),
        (libc::SYS_madvise, vec![]),
        (libc::SYS_setsockopt, vec![option(libc::UDP_SEGMENT), option(libc::UDP_GRO)]),
    ]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
    filter.try_into().unwrap()
}

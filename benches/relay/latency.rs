//! What a relay adds to a datagram's way while it has half of what it can take.
//!
//! Single datagrams at random moments, of which some come back to the source's side: from just
//! before the send to where the kernel notes their arrival, which does not wait for any program.
//! Both sides run before everything else on the machine, or its scheduling would be measured.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, IoSliceMut, Read as _};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::time::{Instant, SystemTime};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use crate::costs::measure;
use crate::load::{Load, Random, SENDER_PORT, SENDERS, names, senders, write_header};
use crate::net::{Net, RELAY, SOURCE};

/// Every forwarder at half of what the naive one can take.
pub(crate) fn compare(net: &Net, rounds: usize) -> Result<(), String> {
    let load = Load::random(1000);
    let half = 0.5e9 / measure(net, "naive", load)?.cost();
    let load = Load { a_second: half as u32, ..load };
    net.let_back(true)?;
    let mut all = MODES.map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        for (mode, all) in MODES.iter().zip(&mut all) {
            for (all, one) in all.iter_mut().zip(once(net, mode, load)?) {
                all.push(one);
            }
        }
    }
    net.let_back(false)?;
    let medians = all.map(|both| {
        both.map(|mut rounds: Vec<f64>| {
            rounds.sort_by(f64::total_cmp);
            rounds[rounds.len() / 2]
        })
    });
    println!("\n| one way at {:.0} thousand/s | p50 µs | ÷ naive | p99 µs | ÷ naive |", half / 1e3);
    println!("| --- | ---: | ---: | ---: | ---: |");
    let [naive_50, naive_99] = medians[0];
    for (mode, [p50, p99]) in MODES.iter().zip(medians) {
        let [of_50, of_99] = [p50 / naive_50, p99 / naive_99];
        println!("| {mode} | {p50:.1} | {of_50:.2} | {p99:.1} | {of_99:.2} |");
    }
    Ok(())
}

fn once(net: &Net, mode: &str, load: Load) -> Result<[f64; 2], String> {
    let mut relay = net.relay(&FIRST, mode, load)?;
    let mut source = net.world(&FIRST, "probes", load)?;
    let mut told = String::new();
    let read = source.stdout.take().map(|mut out| out.read_to_string(&mut told));
    drop(source.wait());
    drop(relay.kill());
    drop(relay.wait());
    drop(read);
    let numbers: Vec<f64> = told.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [p50, p99] => Ok([p50, p99]),
        _ => Err(format!("{mode}: the source said {told:?}")),
    }
}

/// Sends for a while, and prints the median and the 99th percentile in microseconds.
pub(crate) fn probes(load: Load) -> io::Result<()> {
    waylane_runtime_linux::io::pin(1)?;
    let (names, senders) = (names(load), senders()?);
    let hears = UdpSocket::bind(SocketAddr::from((SOURCE, SENDER_PORT + SENDERS as u16)))?;
    hears.set_nonblocking(true)?;
    setsockopt(&hears, sockopt::ReceiveTimestampns, &true)?;
    let back = *names.last().ok_or(io::ErrorKind::NotFound)?;
    for socket in &senders {
        socket.connect(RELAY)?;
    }
    let mut random = Random(4711);
    let mut ways = Vec::new();
    let (start, mut due) = (Instant::now(), Duration::ZERO);
    while due < WARM_UP + WINDOW {
        while start.elapsed() < due {
            ways.extend(heard(&hears)?.filter(|_| start.elapsed() > WARM_UP));
        }
        // What was not sent while this thread had to stand back is not sent at once afterwards.
        due = due.max(start.elapsed().saturating_sub(LATE_MAX));
        let mut datagram = [0x80; 64];
        let to = if random.next().is_multiple_of(ONE_IN) {
            let now = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?;
            datagram[9..25].copy_from_slice(&now.as_nanos().to_le_bytes());
            back
        } else {
            names[random.next() as usize % load.destinations as usize]
        };
        write_header(to, &mut datagram);
        // Before the relay listens, what is sent is told to have arrived nowhere.
        drop(senders[random.next() as usize % senders.len()].send(&datagram));
        // A gap as between events that know nothing of each other.
        let even = (random.next() % (1 << 24)) as f64 / f64::from(1 << 24);
        due += Duration::from_secs_f64(-(1.0 - even).ln() / f64::from(load.a_second));
    }
    ways.sort_by(f64::total_cmp);
    if ways.len() < ENOUGH {
        return Err(io::Error::other(format!("only {} came back", ways.len())));
    }
    println!("{:.2} {:.2}", ways[ways.len() / 2], ways[ways.len() * 99 / 100]);
    Ok(())
}

/// How long a probe that has come was under way, in microseconds.
fn heard(socket: &UdpSocket) -> io::Result<Option<f64>> {
    let mut bytes = [0; 64];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let fd = socket.as_raw_fd();
    let arrived = match recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::empty()) {
        Err(nix::errno::Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(message) => message.cmsgs()?.find_map(|control| {
            let ControlMessageOwned::ScmTimestampns(at) = control else { return None };
            Some(Duration::from(at))
        }),
    };
    let sent = bytes.get(9..25).and_then(<[u8]>::first_chunk).copied().map(u128::from_le_bytes);
    let both = arrived.zip(sent).ok_or_else(|| io::Error::other("a probe without its times"))?;
    Ok(Some((both.0.as_nanos() as f64 - both.1 as f64) / 1e3))
}

const MODES: [&str; 4] = ["naive", "mmsg", "uring", "std"];
/// Before everything else, as util-linux has it.
const FIRST: [&str; 3] = ["chrt", "--fifo", "1"];
const ONE_IN: u64 = 16;
/// Less than what a relay counts for, and it begins to count with the first datagram.
const WARM_UP: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_millis(1500);
const LATE_MAX: Duration = Duration::from_micros(200);
const ENOUGH: usize = 1000;

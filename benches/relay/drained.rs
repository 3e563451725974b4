//! Two workers against one: queues are filled beforehand, since a source beside them would take a
//! core; then as many threads as there are workers empty them.
//!
//! Each queue is filled on the core that empties it, as by a card with a queue for each core: the
//! kernel has a datagram's memory freed where it was made, and one worker alone would have that
//! done by a core that is not counted. The kernel tells the queues apart by `SO_INCOMING_CPU`.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use socket2::SockRef;
use waylane_runtime_linux::io::pin;

use crate::load::{Load, flood, names, senders, write_header};
use crate::net::Net;
use crate::relays::{Forwarder, Team, bound, scheduled};

/// Rates of one and of two, in turn.
pub(crate) fn compare(net: &Net, rounds: usize) -> Result<(), String> {
    println!(
        "\n| two workers against one | one, thousand/s | two, thousand/s | two ÷ one | by time on the processor |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for mode in ["naive", "mmsg", "uring"] {
        let mut drained = [const { Vec::new() }; 2];
        for _ in 0..rounds {
            for (workers, drained) in (1..).zip(&mut drained) {
                drained.push(once(net, mode, workers)?);
            }
        }
        let [one, two] = drained.map(|mut rounds: Vec<[f64; 2]>| {
            rounds.sort_by(|a, b| a[0].total_cmp(&b[0]));
            rounds[rounds.len() / 2]
        });
        println!(
            "| {mode} | {:.0} | {:.0} | {:.2} | {:.2} |",
            one[0],
            two[0],
            two[0] / one[0],
            2.0 * one[1] / two[1]
        );
    }
    Ok(())
}

/// Thousands a second, and nanoseconds on the processor for each.
fn once(net: &Net, mode: &str, workers: u32) -> Result<[f64; 2], String> {
    let load = Load { count: EACH, ..Load::random(1000) };
    let role = format!("drain {mode} {workers}");
    // Before everything else: what is compared is how long it takes.
    let mut relay = net.relay(&["chrt", "--fifo", "1"], &role, load)?;
    let result = (|| {
        let mut said = BufReader::new(relay.stdout.take()?).lines();
        said.next()?.ok().filter(|line| line == "ready")?;
        for core in 0..workers {
            net.world(&[], &format!("fill {core}"), load).ok()?.wait().ok()?;
        }
        relay.stdin.take()?.write_all(b"go\n").ok()?;
        let line = said.next()?.ok()?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        <[f64; 2]>::try_from(numbers).ok()
    })();
    drop(relay.wait());
    result.ok_or_else(|| format!("{role} did not end as it should"))
}

/// The workers' process: opens the sockets, waits for a line, drains them, and tells.
pub(crate) fn run(mode: &str, workers: usize, load: Load) -> io::Result<()> {
    let sockets = bound(workers, QUEUE)?;
    for (core, socket) in
        sockets.iter().enumerate().flat_map(|(n, set)| set.iter().map(move |s| (n, s)))
    {
        SockRef::from(socket).set_cpu_affinity(core)?;
    }
    let mut team = Team::new(mode, load, sockets)?;
    println!("ready");
    io::stdin().read_line(&mut String::new())?;
    let (ended, begin) = (AtomicBool::new(false), Barrier::new(workers));
    let drained: io::Result<Vec<Drained>> = thread::scope(|scope| {
        let threads: Vec<_> = (team.forwarders.iter_mut().enumerate())
            .map(|(number, forwarder)| {
                let (ended, begin) = (&ended, &begin);
                scope.spawn(move || drain(forwarder, number, begin, ended))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap_or(Err(io::ErrorKind::Other.into()))).collect()
    });
    let drained = drained?;
    let count: u64 = drained.iter().map(|d| d.datagrams).sum();
    let wall = drained.iter().map(|d| d.wall.as_secs_f64()).fold(0.0, f64::max);
    let cpu: f64 = drained.iter().map(|d| d.cpu.as_secs_f64()).sum();
    if count < u64::from(load.count) * workers as u64 / 2 {
        return Err(io::Error::other(format!("only {count} were there")));
    }
    println!("{:.1} {:.1}", count as f64 / wall / 1e3, cpu * 1e9 / count as f64);
    Ok(())
}

/// Fills the queue of one core's worker, from senders of its own.
pub(crate) fn fill(core: usize, load: Load) -> io::Result<()> {
    pin(core)?;
    let (names, senders) = (names(load), senders()?);
    let half = senders.len() / 2;
    let own = if core == 0 { &senders[..half] } else { &senders[half..] };
    flood(own, load, |_, spread, datagram| write_header(names[spread], datagram))
}

struct Drained {
    datagrams: u64,
    wall: Duration,
    cpu: Duration,
}

/// Until there is no more, here or with the first of the others: all that is counted, all of them
/// were at work.
fn drain(
    forwarder: &mut Forwarder,
    number: usize,
    begin: &Barrier,
    ended: &AtomicBool,
) -> io::Result<Drained> {
    pin(number)?;
    forwarder.start(Duration::ZERO)?;
    begin.wait();
    let (start, (cpu, _)) = (Instant::now(), scheduled()?);
    let mut datagrams = 0;
    while !ended.load(Ordering::Relaxed) {
        let (now, _) = forwarder.turn()?;
        if now == datagrams {
            ended.store(true, Ordering::Relaxed);
        }
        datagrams = now;
    }
    Ok(Drained { datagrams, wall: start.elapsed(), cpu: scheduled()?.0 - cpu })
}

/// Datagrams for each worker.
const EACH: u32 = 150_000;
/// A datagram takes less than a KiB of it.
const QUEUE: usize = 400 << 20;

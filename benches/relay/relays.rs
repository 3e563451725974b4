//! The forwarders under test, each in a process of its own: warms up, counts for a while, tells.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::time::Instant as StdInstant;

use waylane_core::time::Instant;
use waylane_relay::io::Udp;
use waylane_relay::{Io, Worker};
use waylane_runtime_linux::io::{Mmsg, Uring, open_shared, pin};
use waylane_runtime_linux::memory::tables;

use crate::load::{Load, address, sessions};
use crate::net::RELAY;

/// What a forwarder did in its window.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    /// On the processor.
    pub(crate) cpu: Duration,
    /// Ready to run while the core did something else.
    pub(crate) waited: Duration,
    pub(crate) wall: Duration,
}

/// Runs the forwarder `mode` under `load` and prints its tally.
pub(crate) fn run(mode: &str, load: Load) -> io::Result<()> {
    // Other work on this machine is to take as little as it can.
    drop(std::fs::write("/proc/self/autogroup", "-15"));
    pin(0)?;
    let tally = if mode == "naive" { naive(load)? } else { ours(mode, load)? };
    let Tally { datagrams, bytes, cpu, waited, wall } = tally;
    let [cpu, waited, wall] = [cpu, waited, wall].map(|time| time.as_nanos());
    println!("{datagrams} {bytes} {cpu} {waited} {wall}");
    Ok(())
}

/// One call in, a look-up, one call out.
fn naive(load: Load) -> io::Result<Tally> {
    let (owner, names) = sessions(load, waylane_relay::SharedTables::on_heap);
    drop(owner);
    // By slot, as ours; without asking who sends.
    let slots = names.iter().map(|name| name.slot()).max().unwrap_or(0) as usize + 1;
    let mut table: Vec<Option<SocketAddr>> = vec![None; slots];
    for (n, name) in (0..).zip(&names) {
        table[name.slot() as usize] = Some(address(n));
    }
    let socket = bound()?.remove(0);
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut done = (0, 0);
    window(|| {
        for _ in 0..64 {
            let mut buffer = [0; 1536];
            let (len, _) = socket.recv_from(&mut buffer)?;
            let slot = u32::from_le_bytes([buffer[1], buffer[2], buffer[3], 0]);
            if let Some(Some(to)) = table.get(slot as usize)
                && socket.send_to(&buffer[..len], to).is_ok()
            {
                done.0 += 1;
                done.1 += len as u64;
            }
        }
        Ok(done)
    })
}

fn ours(mode: &str, load: Load) -> io::Result<Tally> {
    let (owner, _) = sessions(load, |limits| tables(limits).expect("there is memory").0);
    let sockets = bound()?;
    let io: Box<dyn Io> = match mode {
        // The source's trains are cut at the socket, for all alike.
        "mmsg" => Box::new(Mmsg::unmerged(sockets)?),
        "uring" => Box::new(Uring::new(sockets)?),
        "std" => Box::new(Udp::new(sockets)?),
        other => return Err(io::Error::other(format!("no mode {other:?}"))),
    };
    let mut worker = Worker::new(&owner, io);
    worker.start()?;
    let start = StdInstant::now();
    window(|| {
        worker.turn(PATIENCE, || Instant::ZERO + start.elapsed())?;
        let forward = worker.counters().forward;
        Ok((forward.forwarded, forward.forwarded_bytes))
    })
}

fn bound() -> io::Result<Vec<UdpSocket>> {
    let address = RELAY.parse().map_err(io::Error::other)?;
    // As a relay opens them: it waits for the port, which the one before may still hold.
    let opened = open_shared(&[address], 4 << 20, 1).map_err(|error| error.error)?;
    Ok(opened.into_iter().flatten().collect())
}

/// Repeats `turn`, which tells what it has forwarded so far, and counts for a while after the
/// first datagrams.
fn window(mut turn: impl FnMut() -> io::Result<(u64, u64)>) -> io::Result<Tally> {
    while turn()?.0 == 0 {}
    let mut start = StdInstant::now();
    while start.elapsed() < WARM_UP {
        turn()?;
    }
    let (before, (cpu, waited)) = (turn()?, scheduled()?);
    start = StdInstant::now();
    loop {
        let now = turn()?;
        let wall = start.elapsed();
        if wall >= WINDOW {
            return Ok(Tally {
                datagrams: now.0 - before.0,
                bytes: now.1 - before.1,
                cpu: scheduled()?.0 - cpu,
                waited: scheduled()?.1 - waited,
                wall,
            });
        }
    }
}

/// How long this thread has run, and how long it would have run if it could.
fn scheduled() -> io::Result<(Duration, Duration)> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let mut nanos = text.split_whitespace().filter_map(|nanos| nanos.parse().ok());
    let both = nanos.next().zip(nanos.next());
    let (ran, waited) = both.ok_or_else(|| io::Error::other("no schedstat"))?;
    Ok((Duration::from_nanos(ran), Duration::from_nanos(waited)))
}

const PATIENCE: Duration = Duration::from_secs(10);
/// Not counted.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// Counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(2);

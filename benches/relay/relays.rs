//! The forwarders under test, each in a process of its own: warms up, counts for a while, tells.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::time::Instant as StdInstant;

use waylane_core::time::Instant;
use waylane_relay::io::Udp;
use waylane_relay::{Io, SharedTables, Worker};
use waylane_runtime_linux::io::{Mmsg, Uring, open_shared, pin};
use waylane_runtime_linux::memory::tables;

use crate::load::{Load, RelayOwner, addresses, limits, names, prefer_us, sessions};
use crate::net::RELAY;

/// What a forwarder did in its window.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    /// What came to its socket, be it that it found no room there.
    pub(crate) offered: u64,
    /// On the processor.
    pub(crate) cpu: Duration,
    /// Ready to run while the core did something else.
    pub(crate) waited: Duration,
    pub(crate) wall: Duration,
}

impl Tally {
    /// Nanoseconds on the processor for each datagram.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.datagrams as f64
    }

    /// Thousands of datagrams a second.
    pub(crate) fn rate(&self) -> f64 {
        self.datagrams as f64 / self.wall.as_secs_f64() / 1e3
    }

    /// How much of the core was ours, in hundredths.
    pub(crate) fn ours(&self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// How much of it nobody asked for, as far as this forwarder can tell.
    pub(crate) fn idle(&self) -> f64 {
        100.0 - 100.0 * (self.cpu + self.waited).as_secs_f64() / self.wall.as_secs_f64()
    }

    /// The one of median cost.
    pub(crate) fn median(tallies: &mut [Self]) -> Self {
        tallies.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        tallies.get(tallies.len() / 2).copied().unwrap_or_default()
    }
}

/// As it is told to the process that compares.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datagrams, bytes, offered, cpu, waited, wall } = self;
        let [cpu, waited, wall] = [cpu, waited, wall].map(Duration::as_nanos);
        write!(f, "{datagrams} {bytes} {offered} {cpu} {waited} {wall}")
    }
}

impl FromStr for Tally {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [datagrams, bytes, offered, cpu, waited, wall] = numbers[..] else {
            return Err(format!("the forwarder said {text:?}"));
        };
        let [cpu, waited, wall] = [cpu, waited, wall].map(Duration::from_nanos);
        Ok(Self { datagrams, bytes, offered, cpu, waited, wall })
    }
}

/// Runs the forwarder `mode` under `load` and prints its tally.
pub(crate) fn run(mode: &str, load: Load) -> io::Result<()> {
    prefer_us();
    pin(0)?;
    let mut team = Team::new(mode, load, bound(1, 4 << 20)?)?;
    let forwarder = team.forwarders.first_mut().ok_or(io::ErrorKind::NotFound)?;
    forwarder.start(PATIENCE)?;
    println!("{}", window(|| forwarder.turn())?);
    Ok(())
}

/// Forwarders over one table.
pub(crate) struct Team {
    /// Whom the tables belong to; nothing is handed to it here.
    _owner: Option<RelayOwner>,
    pub(crate) forwarders: Vec<Forwarder>,
}

/// One of those under test.
pub(crate) enum Forwarder {
    /// One call in, a look-up by slot, one call out; does not ask who sends.
    Naive { socket: UdpSocket, table: Vec<Option<SocketAddr>>, done: (u64, u64) },
    /// Ours.
    Worker { worker: Box<Worker<Box<dyn Io + Send>>>, wait: Duration, start: StdInstant },
}

impl Team {
    /// As many as there are sets of sockets.
    pub(crate) fn new(mode: &str, load: Load, sockets: Vec<Vec<UdpSocket>>) -> io::Result<Self> {
        if mode == "naive" {
            let names = names(load);
            let slots = names.iter().map(|name| name.slot()).max().unwrap_or(0) as usize + 1;
            let mut table = vec![None; slots];
            for (name, address) in names.iter().zip(addresses(load)) {
                table[name.slot() as usize] = Some(address);
            }
            let naive = |socket| Forwarder::Naive { socket, table: table.clone(), done: (0, 0) };
            let forwarders = sockets.into_iter().flatten().map(naive).collect();
            return Ok(Self { _owner: None, forwarders });
        }
        let (owner, _) = sessions(load, limits(load), huge(load));
        let worker = |sockets| {
            let io: Box<dyn Io + Send> = match mode {
                // The source's trains are cut at the socket, for all alike.
                "mmsg" => Box::new(Mmsg::unmerged(sockets)?),
                "uring" => Box::new(Uring::new(sockets)?),
                "std" => Box::new(Udp::new(sockets)?),
                other => return Err(io::Error::other(format!("no mode {other:?}"))),
            };
            let worker = Box::new(Worker::new(&owner, io));
            Ok(Forwarder::Worker { worker, wait: PATIENCE, start: StdInstant::now() })
        };
        let forwarders = sockets.into_iter().map(worker).collect::<io::Result<_>>()?;
        Ok(Self { _owner: Some(owner), forwarders })
    }
}

fn huge(load: Load) -> SharedTables {
    tables(limits(load)).expect("there is memory").0
}

impl Forwarder {
    /// On the thread that it is to run on; its turns are to wait no longer than `limit`.
    pub(crate) fn start(&mut self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Naive { socket, .. } if limit.is_zero() => socket.set_nonblocking(true),
            Self::Naive { socket, .. } => {
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(limit))
            }
            Self::Worker { worker, wait, .. } => {
                *wait = limit;
                worker.start()
            }
        }
    }

    /// One turn; tells what it has forwarded so far, datagrams and bytes.
    pub(crate) fn turn(&mut self) -> io::Result<(u64, u64)> {
        match self {
            Self::Naive { socket, table, done } => {
                for _ in 0..TURN {
                    let mut buffer = [0; 1536];
                    let (len, _) = match socket.recv_from(&mut buffer) {
                        Ok(received) => received,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    };
                    let slot = u32::from_le_bytes([buffer[1], buffer[2], buffer[3], 0]);
                    if let Some(Some(to)) = table.get(slot as usize)
                        && socket.send_to(&buffer[..len], to).is_ok()
                    {
                        done.0 += 1;
                        done.1 += len as u64;
                    }
                }
                Ok(*done)
            }
            Self::Worker { worker, wait, start } => {
                worker.turn(*wait, || Instant::ZERO + start.elapsed())?;
                let forward = worker.counters().forward;
                Ok((forward.forwarded, forward.forwarded_bytes))
            }
        }
    }
}

/// Sets of sockets as a relay opens them; waits for the port, which one that was ended with a ring
/// may hold for longer than a relay waits.
pub(crate) fn bound(workers: usize, buffer: usize) -> io::Result<Vec<Vec<UdpSocket>>> {
    let address = RELAY.parse().map_err(io::Error::other)?;
    let start = StdInstant::now();
    loop {
        match open_shared(&[address], buffer, workers) {
            Ok(sockets) => return Ok(sockets),
            Err(error) if start.elapsed() > PATIENCE => return Err(error.error),
            Err(_) => {}
        }
    }
}

/// Repeats `turn`, which tells what it has forwarded so far, and counts for a while after the
/// first datagrams.
fn window(mut turn: impl FnMut() -> io::Result<(u64, u64)>) -> io::Result<Tally> {
    while turn()?.0 == 0 {}
    let mut start = StdInstant::now();
    while start.elapsed() < WARM_UP {
        turn()?;
    }
    let (before, came, (cpu, waited)) = (turn()?, offered()?, scheduled()?);
    start = StdInstant::now();
    loop {
        let now = turn()?;
        let wall = start.elapsed();
        if wall >= WINDOW {
            let (cpu_now, waited_now) = scheduled()?;
            return Ok(Tally {
                datagrams: now.0 - before.0,
                bytes: now.1 - before.1,
                offered: offered()? - came,
                cpu: cpu_now - cpu,
                waited: waited_now - waited,
                wall,
            });
        }
    }
}

/// How long this thread has run, and how long it would have run if it could.
pub(crate) fn scheduled() -> io::Result<(Duration, Duration)> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let mut nanos = text.split_whitespace().filter_map(|nanos| nanos.parse().ok());
    let both = nanos.next().zip(nanos.next());
    let (ran, waited) = both.ok_or_else(|| io::Error::other("no schedstat"))?;
    Ok((Duration::from_nanos(ran), Duration::from_nanos(waited)))
}

/// Datagrams that have come to this namespace's sockets: taken, or dropped for want of room.
fn offered() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = rows.next().zip(rows.next()).unwrap_or_default();
    let both = names.split(' ').zip(values.split(' '));
    let counted = both.filter(|(name, _)| ["InDatagrams", "RcvbufErrors"].contains(name));
    Ok(counted.filter_map(|(_, value)| value.parse::<u64>().ok()).sum())
}

/// Longer than it takes to start the source.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Not counted.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// Counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(2);
/// Datagrams that the naive one forwards between looks at the clock.
const TURN: usize = 64;

//! Which back end serves on this machine: what the kernel gives, and what it costs here.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use tracing::dispatcher;
use waylane_relay::io::{Outgoing, Sent, Udp};
use waylane_relay::{Io, IoChoice};

use crate::io::{Mmsg, Uring, can_merge, open};

/// A back end there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Uring,
    Mmsg,
    Std,
}

impl Kind {
    pub(crate) fn over(self, sockets: Vec<UdpSocket>) -> io::Result<Box<dyn Io + Send>> {
        Ok(match self {
            Self::Uring => Box::new(Uring::new(sockets)?),
            Self::Mmsg => Box::new(Mmsg::new(sockets)?),
            Self::Std => {
                sockets.iter().for_each(|socket| _ = can_merge(socket));
                Box::new(Udp::new(sockets)?)
            }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Mmsg => "mmsg",
            Self::Std => "std",
        })
    }
}

/// What was asked for if it is to be had, or else the next that is; and says why.
pub(crate) fn choose(asked: IoChoice) -> Kind {
    // A thread that had a ring is interrupted in its next waits; the caller's is not to be.
    let log = dispatcher::get_default(Clone::clone);
    let choose = || dispatcher::with_default(&log, || choose_here(asked));
    thread::scope(|scope| {
        let chooser = thread::Builder::new().spawn_scoped(scope, choose);
        chooser.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
    .unwrap_or_else(|error| {
        tracing::warn!("sockets by std: there are no more threads: {error}");
        Kind::Std
    })
}

fn choose_here(asked: IoChoice) -> Kind {
    let candidates = match asked {
        IoChoice::Std => {
            tracing::info!("sockets by std, as asked for");
            return Kind::Std;
        }
        IoChoice::Mmsg => &[Kind::Mmsg][..],
        IoChoice::Uring => &[Kind::Uring, Kind::Mmsg],
        IoChoice::Auto | _ => &[Kind::Mmsg, Kind::Uring],
    };
    let mut benches = Vec::new();
    for &kind in candidates {
        // One round shows what a filter may refuse later than when the back end is made.
        match Bench::new(kind).and_then(|mut bench| bench.round().map(|()| bench)) {
            Ok(bench) => benches.push(bench),
            Err(error) => tracing::warn!("{kind} is not to be had here: {error}"),
        }
        if asked != IoChoice::Auto && !benches.is_empty() {
            break;
        }
    }
    match &mut benches[..] {
        [] => {
            tracing::warn!("sockets by std: nothing better is to be had");
            Kind::Std
        }
        [only] => {
            let why = if is(asked, only.kind) { "as asked for" } else { "the others are refused" };
            tracing::info!("sockets by {}, {why}", only.kind);
            only.kind
        }
        several => {
            measure(several);
            let cheapest = several.iter().min_by_key(|bench| bench.best);
            let chosen = cheapest.map_or(Kind::Std, |bench| bench.kind);
            let costs: Vec<String> = several.iter().map(ToString::to_string).collect();
            tracing::info!("sockets by {chosen}, the cheapest here: {}", costs.join(", "));
            chosen
        }
    }
}

fn is(asked: IoChoice, kind: Kind) -> bool {
    matches!((asked, kind), (IoChoice::Uring, Kind::Uring) | (IoChoice::Mmsg, Kind::Mmsg))
}

/// A back end over loopback that is to show what it costs.
struct Bench {
    kind: Kind,
    io: Box<dyn Io + Send>,
    source: UdpSocket,
    sinks: [UdpSocket; 2],
    best: Duration,
}

impl Bench {
    fn new(kind: Kind) -> io::Result<Self> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sockets = open(&[loopback], BUFFER).map_err(|error| error.error)?;
        let relay = sockets.first().ok_or(io::ErrorKind::NotFound)?.local_addr()?;
        let mut io = kind.over(sockets)?;
        io.start()?;
        let sink = || UdpSocket::bind(loopback).and_then(|s| s.set_nonblocking(true).map(|()| s));
        let source = UdpSocket::bind(loopback)?;
        source.connect(relay)?;
        source.set_nonblocking(true)?;
        Ok(Self { kind, io, source, sinks: [sink()?, sink()?], best: Duration::MAX })
    }

    /// Forwards a batch from a full queue to two destinations in turn, so that nothing is
    /// segmented: what both back ends do alike.
    fn round(&mut self) -> io::Result<()> {
        for sink in &self.sinks {
            while sink.recv(&mut [0; 256]).is_ok() {}
        }
        for _ in 0..DATAGRAMS {
            self.source.send(&[0; 100])?;
        }
        let to = [self.sinks[0].local_addr()?, self.sinks[1].local_addr()?];
        let mut outgoing = Vec::with_capacity(DATAGRAMS);
        let (mut sent, mut left) = (Sent::default(), DATAGRAMS);
        let start = Instant::now();
        while left > 0 {
            let count = self.io.receive(PATIENCE)?;
            if count == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let to = to.iter().cycle().take(count).enumerate();
            outgoing.clear();
            outgoing.extend(to.map(|(index, to)| Outgoing { index, len: 100, to: *to }));
            self.io.send(&outgoing, &mut sent);
            left = left.saturating_sub(count);
        }
        if sent.datagrams < DATAGRAMS as u64 {
            return Err(io::Error::other("it sends nothing"));
        }
        self.best = self.best.min(start.elapsed() / DATAGRAMS as u32);
        Ok(())
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.best {
            Duration::MAX => write!(f, "{} not measured", self.kind),
            best => write!(f, "{} {} ns a datagram", self.kind, best.as_nanos()),
        }
    }
}

/// In turns, so that whatever else the machine does meets all of them.
fn measure(benches: &mut [Bench]) {
    for _ in 0..ROUNDS {
        for bench in &mut *benches {
            if let Err(error) = bench.round() {
                tracing::debug!(%error, "{} was not measured this time", bench.kind);
            }
        }
    }
}

/// Few enough for any system's socket buffer.
const DATAGRAMS: usize = 128;
const ROUNDS: usize = 20;
const BUFFER: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_millis(100);

//! Debian's coturn with both players on it: what hiding both addresses costs with TURN. Data goes
//! from A to A's port at the relay, to B's port there, to B; each player has one channel for each
//! that it talks to (RFC 8656).

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use crate::load::{Load, SENDER_PORT, SENDERS, address, flood, prefer_us};
use crate::net::{Net, RELAY, SOURCE};
use crate::relays::{Tally, WARM_UP, WINDOW};

/// Whether it is installed.
pub(crate) fn is_there() -> bool {
    std::process::Command::new("turnserver").arg("--help").output().is_ok()
}

/// What it does under `load`, whose senders each talk to their own share of the destinations: that
/// is no dearer than at random, as it takes datagrams one by one. The whole process's time counts.
pub(crate) fn measure(net: &Net, load: Load) -> Result<Tally, String> {
    let (ip, port) = RELAY.split_once(':').unwrap_or_default();
    let line = format!(
        "ulimit -n $(ulimit -Hn); exec taskset -c 0 turnserver -n --no-auth --no-tls --no-dtls --no-tcp \
         --no-cli --no-stdout-log --log-file /dev/null --simple-log --pidfile /dev/null \
         -L {ip} -E {ip} -p {port} -m 1 >/dev/null 2>&1"
    );
    let mut relay = net.program(&["sh", "-c", &line])?;
    let tally = net.open().and_then(|()| during(net, load, relay.id()));
    drop(relay.kill());
    drop(relay.wait());
    // However it went, the others' sink is to be there.
    net.shut()?;
    tally
}

fn during(net: &Net, load: Load, relay: u32) -> Result<Tally, String> {
    let mut source = net.world(&[], "players", load)?;
    let counted = (|| {
        let mut said = String::new();
        let out = source.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut said).map_err(|e| e.to_string())?;
        if said.trim() != "ready" {
            return Err(format!("coturn's players said {said:?}"));
        }
        net.shut()?;
        let mut input = source.stdin.take().ok_or("no input")?;
        input.write_all(b"go\n").map_err(|e| e.to_string())?;
        thread::park_timeout(WARM_UP);
        let (before, ran, start) = (net.sunk()?.1, ran(relay)?, Instant::now());
        thread::park_timeout(WINDOW);
        let (bytes, cpu, wall) = (net.sunk()?.1 - before, self::ran(relay)? - ran, start.elapsed());
        // One length, and IPv4's and UDP's headers.
        let len = 64 + 28;
        debug_assert!(!load.mixed, "it is counted by one length");
        let datagrams = bytes / len;
        Ok(Tally { datagrams, bytes, offered: datagrams, cpu, waited: Duration::ZERO, wall })
    })();
    drop(source.kill());
    drop(source.wait());
    counted
}

/// Less than it can take, so that nothing is lost between a player's port and the other's, which
/// under overload has cost its time and arrives nowhere.
pub(crate) const EASY: u32 = 50_000;

/// All players: gets them allocations and channels, says so, waits for a line, and sends.
pub(crate) fn players(load: Load) -> io::Result<()> {
    prefer_us();
    waylane_runtime_linux::io::pin(1)?;
    let mut senders = Vec::new();
    for n in 0..SENDERS as u16 {
        let player = Player::new(SocketAddr::from((SOURCE, SENDER_PORT + n)))?;
        let relayed = player.allocate()?;
        senders.push((player, relayed, Vec::new()));
    }
    for n in 0..load.destinations {
        let (sender, from, channels) = &mut senders[(n % SENDERS) as usize];
        let destination = Player::new(address(n))?;
        let to = destination.allocate()?;
        destination.bind_channel(CHANNEL, *from)?;
        let channel = CHANNEL + channels.len() as u16;
        sender.bind_channel(channel, to)?;
        channels.push(channel);
    }
    println!("ready");
    io::stdin().read_line(&mut String::new())?;
    let (sockets, channels): (Vec<_>, Vec<_>) =
        senders.into_iter().map(|(player, _, channels)| (player.socket, channels)).unzip();
    flood(&sockets, load, |sender, spread, datagram| {
        let channels = &channels[sender];
        let channel = channels.get(spread % channels.len().max(1)).copied().unwrap_or(CHANNEL);
        let len = (datagram.len() - 4) as u16;
        datagram[..2].copy_from_slice(&channel.to_be_bytes());
        datagram[2..4].copy_from_slice(&len.to_be_bytes());
    })
}

/// How long all threads of a process have run.
fn ran(process: u32) -> Result<Duration, String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).map_err(|e| e.to_string())?;
    let mut nanos = 0;
    for task in tasks.flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0_u64);
    }
    Ok(Duration::from_nanos(nanos))
}

/// One client of a TURN server that asks for no password.
struct Player {
    socket: UdpSocket,
}

impl Player {
    fn new(own: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(own)?;
        socket.connect(RELAY)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self { socket })
    }

    /// Where it is reached from now on.
    fn allocate(&self) -> io::Result<SocketAddrV4> {
        const UDP: [u8; 8] = [0x00, 0x19, 0, 4, 17, 0, 0, 0];
        let answer = self.ask(0x0003, &UDP)?;
        let mut rest = &answer[20..];
        while let [kind_0, kind_1, _, len, after @ ..] = rest {
            let len = usize::from(*len).next_multiple_of(4);
            if ([*kind_0, *kind_1], len) == ([0x00, 0x16], 8) && after.len() >= 8 {
                let port = u16::from_be_bytes([after[2] ^ MAGIC[0], after[3] ^ MAGIC[1]]);
                let ip: [u8; 4] = core::array::from_fn(|n| after[4 + n] ^ MAGIC[n]);
                return Ok(SocketAddrV4::new(Ipv4Addr::from(ip), port));
            }
            rest = after.get(len..).unwrap_or_default();
        }
        Err(io::Error::other("an allocation without an address"))
    }

    fn bind_channel(&self, channel: u16, peer: SocketAddrV4) -> io::Result<()> {
        let [channel, port] = [channel, peer.port()].map(u16::to_be_bytes);
        let ip: [u8; 4] = core::array::from_fn(|n| peer.ip().octets()[n] ^ MAGIC[n]);
        let mut attributes = vec![0x00, 0x0c, 0, 4, channel[0], channel[1], 0, 0];
        attributes.extend([0x00, 0x12, 0, 8, 0, 1, port[0] ^ MAGIC[0], port[1] ^ MAGIC[1]]);
        attributes.extend(ip);
        self.ask(0x0009, &attributes).map(drop)
    }

    /// The answer of success; asks again for as long as a server may take to start.
    fn ask(&self, method: u16, attributes: &[u8]) -> io::Result<Vec<u8>> {
        let mut request = method.to_be_bytes().to_vec();
        request.extend((attributes.len() as u16).to_be_bytes());
        request.extend(MAGIC);
        request.extend([7; 12]);
        request.extend(attributes);
        let mut bytes = [0; 1500];
        for _ in 0..50 {
            if self.socket.send(&request).is_err() {
                thread::park_timeout(Duration::from_millis(100));
                continue;
            }
            match self.socket.recv(&mut bytes) {
                Ok(len) if len >= 20 && bytes[..2] == (method | 0x0100).to_be_bytes() => {
                    return Ok(bytes[..len].to_vec());
                }
                Ok(len) => eprintln!("coturn says {:02x?}", &bytes[..len.min(60)]),
                Err(_) => thread::park_timeout(Duration::from_millis(20)),
            }
        }
        Err(io::Error::other("coturn does not answer"))
    }
}

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The first of a player's channels.
const CHANNEL: u16 = 0x4000;

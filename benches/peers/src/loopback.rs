//! Over UDP sockets of this machine: what a message costs alone in a packet, and what a transfer
//! costs with segmentation offload. One thread does everything, so that a busy machine changes little
//! and every part's share of the thread's time, system calls included, is known.
//!
//! Waylane's two ends have a relay between them, as they always do; its time is counted apart.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, Event, StreamId, Transmit,
};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::time::{ClockId, clock_gettime};
use waylane::{Config, Event as Told, NetworkManager, Reliability, SendError};
use waylane_benches::{Memory, memory};
use waylane_core::crypto::Secret;
use waylane_core::directory::RelayEntry;
use waylane_core::limits::Limits;
use waylane_core::relay::{Control, REPLY_MAX, RelayConfig, Verdict};
use waylane_crypto::ring::Ring;

use crate::node::Node;
use crate::peer::Channel;
use crate::quic::{NAME, configs, endpoint};

/// Prints both comparisons, the libraries taking turns.
pub fn print() {
    let mut waylane = Waylane::connected();
    let mut quinn = Quinn::connected();
    println!("| 100 B, one a packet | messages a CPU second | with the relay | arrived, % |");
    println!("| --- | ---: | ---: | ---: |");
    compare(&mut waylane, &mut quinn, Channel::Unreliable, |name, round| {
        let [ends, all] = [round.ends, round.ends + round.relay].map(|took| took.as_secs_f64());
        let arrived = round.messages as f64;
        let share = 100.0 * arrived / round.sent as f64;
        println!("| {name} | {:.0} | {:.0} | {share:.1} |", arrived / ends, arrived / all);
        arrived / ends
    });
    println!();
    print_host();
    println!();
    println!("| bulk, reliable | MB a CPU second | with the relay | Mbit/s, one thread for all |");
    println!("| --- | ---: | ---: | ---: |");
    compare(&mut waylane, &mut quinn, Channel::Reliable, |name, round| {
        let [ends, all] = [round.ends, round.ends + round.relay].map(|took| took.as_secs_f64());
        let megabytes = round.bytes as f64 / 1e6;
        let rate = 8.0 * megabytes / round.wall.as_secs_f64();
        println!("| {name} | {:.0} | {:.0} | {rate:.0} |", megabytes / ends, megabytes / all);
        megabytes / ends
    });
}

/// A host with players: each turn it sends one message to each, and each sends one to it. Only the
/// host's time counts.
fn print_host() {
    println!("| host of {PLAYERS}, 100 B both ways, one a packet | messages a CPU second |");
    println!("| --- | ---: |");
    let (mut waylane, mut quinn) = (Waylane::hosting(PLAYERS), Hosting::connected(PLAYERS));
    let show = |name: &str, (messages, took): (u64, Duration)| {
        let rate = messages as f64 / took.as_secs_f64();
        println!("| {name} | {rate:.0} |");
        rate
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(show("waylane", waylane.host()));
        theirs.push(show("quinn", quinn.host()));
    }
    ratio(ours, theirs);
}

/// Rounds in turn.
fn compare(
    waylane: &mut Waylane,
    quinn: &mut Quinn,
    channel: Channel,
    show: impl Fn(&str, &Round) -> f64,
) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(show("waylane", &round(waylane, channel)));
        theirs.push(show("quinn", &round(quinn, channel)));
    }
    ratio(ours, theirs);
}

fn ratio(ours: Vec<f64>, theirs: Vec<f64>) {
    let [our, their] = [ours, theirs].map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    println!("medians {our:.0} and {their:.0}, ratio {:.2}", our / their);
}

/// What a round came to.
#[derive(Default)]
struct Round {
    sent: u64,
    messages: u64,
    bytes: u64,
    ends: Duration,
    relay: Duration,
    wall: Duration,
}

/// Two ends that are connected, and what is between them.
trait Pair {
    /// The first end sends a burst of single messages, each in a packet of its own; or as much as
    /// there is room for.
    fn send(&mut self, channel: Channel) -> u64;

    /// Whatever is between the ends has its turn.
    fn between(&mut self);

    /// Both ends take what has come, and send what they owe.
    fn take(&mut self);

    /// Messages and bytes that the second end has heard.
    fn heard(&self) -> [u64; 2];
}

fn round(pair: &mut impl Pair, channel: Channel) -> Round {
    let mut round = Round::default();
    let before = pair.heard();
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        let heard = pair.heard();
        let mut at = thread_time();
        let mut lap = || {
            let now = thread_time();
            now - core::mem::replace(&mut at, now)
        };
        let sent = pair.send(channel);
        round.sent += sent;
        round.ends += lap();
        pair.between();
        round.relay += lap();
        pair.take();
        round.ends += lap();
        pair.between();
        round.relay += lap();
        pair.take();
        round.ends += lap();
        if sent == 0 && pair.heard() == heard {
            // Waiting costs nobody anything.
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }
    round.wall = start.elapsed();
    let after = pair.heard();
    [round.messages, round.bytes] = [0, 1].map(|n| after[n] - before[n]);
    round
}

/// The first end is connected with all others.
struct Waylane {
    ends: Vec<NetworkManager>,
    ids: Vec<u64>,
    relay: Relay,
    heard: [u64; 2],
    opened: usize,
}

impl Waylane {
    fn connected() -> Self {
        Self::hosting(1)
    }

    fn hosting(players: usize) -> Self {
        let relay = Relay::new();
        let address = relay.link.address();
        let entry =
            RelayEntry::new(*relay.control.public_key(), &[address], "").expect("an address");
        let limits = |peers| match players {
            1 => Limits::DEFAULT,
            _ => Limits::for_peers(peers),
        };
        let end = |limits| {
            let directory = vec![entry.clone()];
            NetworkManager::new(Config { directory, limits, ..Config::default() }).expect("sockets")
        };
        let host = end(limits(players as u16));
        let players = (0..players).map(|_| end(limits(1)));
        let ends: Vec<_> = core::iter::once(host).chain(players).collect();
        let ids = ends.iter().map(NetworkManager::peer_id).collect();
        let mut pair = Self { ends, ids, relay, heard: [0; 2], opened: 0 };
        pair.until(|pair| pair.ends.iter().all(|end| end.route().is_some()));
        for player in 1..pair.ends.len() {
            for (from, to) in [(0, player), (player, 0)] {
                let (id, route) = (pair.ids[to], pair.ends[to].route().expect("bound"));
                let end = &mut pair.ends[from];
                end.connect_peer(id, route).expect("a good route");
                end.open_channel(id, 0, Reliability::Unreliable).expect("room");
                end.open_channel(id, 1, Reliability::Reliable).expect("room");
            }
        }
        pair.until(|pair| pair.opened == 4 * (pair.ends.len() - 1));
        pair
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "they do not meet");
            self.take();
            self.between();
            self.ends[0].wait(Duration::from_millis(1));
        }
    }

    /// A round of the host's: messages it has sent and heard, and what it took.
    fn host(&mut self) -> (u64, Duration) {
        let (mut messages, mut took) = (0, Duration::ZERO);
        let start = Instant::now();
        while start.elapsed() < LENGTH {
            let before = self.heard[0];
            let (host, players) = self.ends.split_first_mut().expect("there is a host");
            for player in players {
                player.send_message(self.ids[0], 0, &SMALL).expect("room");
                player.flush();
            }
            self.relay.turn();
            let began = thread_time();
            listen(host, &mut self.heard, &mut self.opened);
            for id in &self.ids[1..] {
                host.send_message(*id, 0, &SMALL).expect("room");
            }
            host.flush();
            took += thread_time() - began;
            self.relay.turn();
            for player in &mut self.ends[1..] {
                listen(player, &mut self.heard, &mut self.opened);
            }
            messages += self.heard[0] - before;
        }
        (messages, took)
    }

    fn say(&mut self, channel: u8, message: &[u8]) -> bool {
        match self.ends[0].send_message(self.ids[1], channel, message) {
            Ok(()) => true,
            Err(SendError::Full { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Pair for Waylane {
    fn send(&mut self, channel: Channel) -> u64 {
        let mut sent = 0;
        if channel == Channel::Unreliable {
            while sent < BURST && self.say(0, &SMALL) {
                self.ends[0].flush();
                sent += 1;
            }
        } else {
            while self.say(1, &LARGE) {
                sent += 1;
            }
            self.ends[0].flush();
        }
        sent
    }

    fn between(&mut self) {
        self.relay.turn();
    }

    fn take(&mut self) {
        let Self { ends, heard, opened, .. } = self;
        for end in ends.iter_mut().rev() {
            listen(end, heard, opened);
            end.flush();
        }
    }

    fn heard(&self) -> [u64; 2] {
        self.heard
    }
}

fn listen(end: &mut NetworkManager, heard: &mut [u64; 2], opened: &mut usize) {
    end.run_callbacks(|_, event| {
        if let Told::Message { data, .. } = &event {
            core::hint::black_box(data);
            heard[0] += 1;
            heard[1] += data.len() as u64;
        } else if let Told::ChannelOpened { .. } = event {
            *opened += 1;
        }
    });
}

/// A relay as small as can be, which leaves runs of datagrams together as they come.
struct Relay {
    link: Link,
    control: Control<Ring, Memory>,
    start: Instant,
    /// Where each datagram of a run goes, if anywhere, and its length.
    ways: Vec<(Option<SocketAddr>, usize)>,
}

impl Relay {
    fn new() -> Self {
        let mut config = RelayConfig::default();
        config.budget.packets_per_second = 10_000_000;
        config.budget.bytes_per_second = 4_000_000_000;
        (config.source, config.destination) = (config.budget, config.budget);
        let now = waylane_core::time::Instant::ZERO;
        let control = Control::new(now, &config, Secret([9; 32]), Ring::new(), memory(&config));
        let control = control.expect("a good configuration");
        Self { link: Link::new(), control, start: Instant::now(), ways: Vec::new() }
    }

    /// Forwards all that waits in the socket.
    fn turn(&mut self) {
        let Self { link, control, start, ways } = self;
        let now = waylane_core::time::Instant::ZERO + start.elapsed();
        link.receive(|socket, from, run, size| {
            ways.clear();
            for datagram in run.chunks_mut(size) {
                let to = match control.forwarder().forward(now, from, datagram) {
                    Verdict::Forward { to } => Some(to),
                    Verdict::Control | Verdict::Unbound => {
                        let mut out = [0; REPLY_MAX];
                        if let Some(reply) = control.handle(now, from, datagram, &mut out) {
                            socket.send(reply.to, &out[..reply.len], None);
                        }
                        None
                    }
                    Verdict::Drop(why) => panic!("the relay drops: {why:?}"),
                };
                ways.push((to, datagram.len()));
            }
            let mut rest = &run[..];
            for together in ways.chunk_by(|one, other| one.0 == other.0) {
                let len = together.iter().map(|(_, len)| len).sum();
                let (bytes, behind) = rest.split_at(len);
                if let Some(to) = together[0].0 {
                    socket.send(to, bytes, (together.len() > 1).then_some(size));
                }
                rest = behind;
            }
        });
        control.handle_timeout(now);
    }
}

/// A socket with the system's offloads, and the memory that it receives into.
struct Link {
    outlet: Outlet,
    buffers: Box<[u8]>,
}

struct Outlet {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Link {
    fn new() -> Self {
        let socket = UdpSocket::bind(ANY).expect("a socket");
        let sized = socket2::SockRef::from(&socket);
        // As much as Waylane's ends ask for, which may be more than they get.
        let _ = sized.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = sized.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true).expect("sockets can");
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("the system has it all");
        let buffers = vec![0; BUFFERS * BUFFER_LEN].into_boxed_slice();
        Self { outlet: Outlet { socket, state }, buffers }
    }

    fn address(&self) -> SocketAddr {
        self.outlet.socket.local_addr().expect("it is bound")
    }

    /// Takes all that waits: runs of datagrams of one size, of which the last may be shorter.
    fn receive(&mut self, mut take: impl FnMut(&Outlet, SocketAddr, &mut [u8], usize)) {
        loop {
            let mut meta = [RecvMeta::default(); BUFFERS];
            let mut chunks = self.buffers.chunks_exact_mut(BUFFER_LEN);
            let mut slices: [IoSliceMut<'_>; BUFFERS] = core::array::from_fn(|_| {
                IoSliceMut::new(chunks.next().expect("as many as there are buffers"))
            });
            let Outlet { socket, state } = &self.outlet;
            let received = match state.recv(UdpSockRef::from(socket), &mut slices, &mut meta) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            };
            let buffers = self.buffers.chunks_exact_mut(BUFFER_LEN);
            for (meta, buffer) in meta.iter().zip(buffers).take(received) {
                take(&self.outlet, meta.addr, &mut buffer[..meta.len], meta.stride.max(1));
            }
        }
    }
}

impl Outlet {
    /// Sends a datagram, or several of one size; false if there is no room.
    fn send(&self, to: SocketAddr, bytes: &[u8], segment_size: Option<usize>) -> bool {
        let transmit = quinn_udp::Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size,
            src_ip: None,
        };
        match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// quinn's protocol over its own sockets' crate, as the crate `quinn` drives it.
struct Quinn {
    ends: [End; 2],
}

struct End {
    link: Link,
    endpoint: Endpoint,
    connection: Connected,
    sending: Option<StreamId>,
    receiving: Option<StreamId>,
    connected: bool,
    out: Vec<u8>,
    /// What the socket had no room for: the front of `out`.
    pending: Option<Transmit>,
    heard: [u64; 2],
}

impl Quinn {
    fn connected() -> Self {
        let (client, server) = configs(false);
        let mut ends = [End::new(1, None), End::new(2, Some(Arc::new(server)))];
        let to = ends[1].link.address();
        let call = ends[0].endpoint.connect(Instant::now(), client, to, NAME);
        ends[0].connection = Some(call.expect("a good configuration"));
        let mut pair = Self { ends };
        let start = Instant::now();
        while !pair.ends.iter().all(|end| end.connected) {
            assert!(start.elapsed() < Duration::from_secs(10), "they do not meet");
            pair.take();
        }
        pair
    }
}

impl Pair for Quinn {
    fn send(&mut self, channel: Channel) -> u64 {
        let mut sent = 0;
        let end = &mut self.ends[0];
        if channel == Channel::Unreliable {
            while sent < BURST {
                let message = Bytes::copy_from_slice(&SMALL);
                if end.connection().datagrams().send(message, false).is_err() {
                    break;
                }
                end.transmit();
                sent += 1;
            }
        } else {
            let sending = end.sending.or_else(|| end.connection().streams().open(Dir::Uni));
            end.sending = sending;
            let stream = sending.expect("a stream may be opened");
            while end.connection().send_stream(stream).write(&LARGE).is_ok() {
                sent += 1;
            }
            end.transmit();
        }
        sent
    }

    fn between(&mut self) {}

    fn take(&mut self) {
        for end in self.ends.iter_mut().rev() {
            end.receive();
            end.transmit();
        }
    }

    fn heard(&self) -> [u64; 2] {
        self.ends[1].heard
    }
}

impl End {
    fn new(seed: u64, server: Option<Arc<quinn_proto::ServerConfig>>) -> Self {
        Self {
            link: Link::new(),
            endpoint: endpoint(seed, server),
            connection: None,
            sending: None,
            receiving: None,
            connected: false,
            out: Vec::new(),
            pending: None,
            heard: [0; 2],
        }
    }

    fn connection(&mut self) -> &mut Connection {
        &mut self.connection.as_mut().expect("they are connected").1
    }

    /// Takes all that waits in the socket, and what is due.
    fn receive(&mut self) {
        let Self { link, endpoint, connection, .. } = self;
        link.receive(|_, from, run, size| {
            let now = Instant::now();
            let mut run = BytesMut::from(&*run);
            while !run.is_empty() {
                let datagram = run.split_to(size.min(run.len()));
                handle(endpoint, connection, now, from, datagram);
            }
        });
        let now = Instant::now();
        if let Some((_, connection)) = &mut self.connection
            && connection.poll_timeout().is_some_and(|due| due <= now)
        {
            connection.handle_timeout(now);
        }
        self.settle();
    }

    /// Takes events and data until there are none.
    fn settle(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => panic!("quinn's connection ends: {reason}"),
                Event::HandshakeDataReady
                | Event::Stream(_)
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        while let Some(message) = connection.datagrams().recv() {
            self.heard[0] += 1;
            self.heard[1] += message.len() as u64;
            core::hint::black_box(message);
        }
        if self.receiving.is_none() {
            self.receiving = connection.streams().accept(Dir::Uni);
        }
        if let Some(stream) = self.receiving {
            let mut stream = connection.recv_stream(stream);
            let mut chunks = stream.read(true).expect("the stream is open");
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                self.heard[1] += chunk.bytes.len() as u64;
                core::hint::black_box(chunk);
            }
            // What it wants to send is asked for anyway.
            let _ = chunks.finalize();
        }
    }

    /// Sends until there is nothing to send or the socket is full.
    fn transmit(&mut self) {
        loop {
            if self.pending.is_none() {
                let Some((_, connection)) = &mut self.connection else { return };
                self.out.clear();
                let segments = self.link.outlet.state.max_gso_segments().min(SEGMENTS_MAX);
                self.pending = connection.poll_transmit(Instant::now(), segments, &mut self.out);
            }
            let Some(transmit) = &self.pending else { return };
            let bytes = &self.out[..transmit.size];
            if !self.link.outlet.send(transmit.destination, bytes, transmit.segment_size) {
                return;
            }
            self.pending = None;
        }
    }
}

/// A host with players, each with a socket.
struct Hosting {
    sites: Vec<Site>,
}

struct Site {
    link: Link,
    node: Node,
}

impl Hosting {
    fn connected(players: usize) -> Self {
        let (client, server) = configs(false);
        let site = |node| Site { link: Link::new(), node };
        let host = site(Node::new(1, Some(Arc::new(server))));
        let to = host.link.address();
        let mut sites = vec![host];
        for player in 0..players {
            let mut node = Node::new(player as u64 + 2, None);
            node.connect(Instant::now(), client.clone(), to);
            sites.push(site(node));
        }
        let start = Instant::now();
        while sites[0].node.connected < players as u32 {
            assert!(start.elapsed() < Duration::from_secs(10), "they do not meet");
            sites.iter_mut().for_each(Site::turn);
        }
        Self { sites }
    }

    fn host(&mut self) -> (u64, Duration) {
        let mut took = Duration::ZERO;
        let heard = |sites: &[Site]| sites.iter().map(|site| site.node.heard).sum::<u64>();
        let before = heard(&self.sites);
        let start = Instant::now();
        let (host, players) = self.sites.split_first_mut().expect("there is a host");
        while start.elapsed() < LENGTH {
            for player in players.iter_mut() {
                player.node.send(0, Channel::Unreliable, &SMALL);
                player.turn();
            }
            let began = thread_time();
            host.receive();
            for number in 0..players.len() {
                host.node.send(number, Channel::Unreliable, &SMALL);
            }
            host.transmit();
            took += thread_time() - began;
            players.iter_mut().for_each(Site::turn);
        }
        ((heard(&self.sites) - before) / SMALL.len() as u64, took)
    }
}

impl Site {
    fn turn(&mut self) {
        self.receive();
        self.transmit();
    }

    fn receive(&mut self) {
        let Self { link, node } = self;
        let now = Instant::now();
        link.receive(|_, from, run, size| {
            run.chunks(size).for_each(|datagram| node.handle(now, from, datagram));
        });
        node.wake(now);
    }

    fn transmit(&mut self) {
        self.node.settle(Instant::now());
        for (to, datagram) in self.node.out.iter() {
            self.link.outlet.send(to, datagram, None);
        }
        self.node.out.clear();
    }
}

type Connected = Option<(ConnectionHandle, Connection)>;

fn handle(
    endpoint: &mut Endpoint,
    connected: &mut Connected,
    now: Instant,
    from: SocketAddr,
    datagram: BytesMut,
) {
    let mut reply = Vec::new();
    match (endpoint.handle(now, from, None, None, datagram, &mut reply), connected) {
        (Some(DatagramEvent::NewConnection(incoming)), connected) => {
            let accepted = endpoint.accept(incoming, now, &mut reply, None);
            *connected = Some(accepted.map_err(|error| error.cause).expect("a good call"));
        }
        (Some(DatagramEvent::ConnectionEvent(_, event)), Some((_, connection))) => {
            connection.handle_event(event);
        }
        _ => {}
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const ANY: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ROUNDS: usize = 5;
const LENGTH: Duration = Duration::from_secs(2);
const PLAYERS: usize = 32;
/// Single messages in a row.
const BURST: u64 = 32;
const SMALL: [u8; 100] = [7; 100];
const LARGE: [u8; 16 << 10] = [7; 16 << 10];
/// As Waylane's sockets ask for.
const SOCKET_BUFFER: usize = 2 << 20;
/// As the crate `quinn` has them.
const SEGMENTS_MAX: usize = 10;
const BUFFERS: usize = 32;
const BUFFER_LEN: usize = 1 << 16;

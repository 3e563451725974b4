//! quinn's side.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, StreamId, Transmit};

use super::link::Link;
use super::{BURST, LARGE, LENGTH, Pair, SMALL, thread_time};
use crate::node::Node;
use crate::peer::Channel;
use crate::quic::{NAME, configs, endpoint, take_events};

/// quinn's protocol over its own sockets' crate, as the crate `quinn` drives it.
pub(super) struct Quinn {
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
    pub(super) fn connected() -> Self {
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
        self.connected |= take_events(&mut self.endpoint, *handle, connection);
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
pub(super) struct Hosting {
    sites: Vec<Site>,
}

struct Site {
    link: Link,
    node: Node,
}

impl Hosting {
    pub(super) fn connected(players: usize) -> Self {
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

    pub(super) fn host(&mut self) -> (u64, Duration) {
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

/// As the crate `quinn` has them.
const SEGMENTS_MAX: usize = 10;

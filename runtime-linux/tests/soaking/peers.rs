//! Who sends to a relay that is soaked: players who stay, guests who come and go, and hostile
//! datagrams between theirs.

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use waylane_core::id::{PublicKey, SessionId};
use waylane_core::wire::hop::{Bound, ControlMessage, CookieReply, Hello, Refused, Resumed};

use crate::running::Running;
use crate::running::client::{Client, Hop};

/// What all have in common.
#[derive(Clone)]
pub(crate) struct Load {
    relay: SocketAddr,
    key: PublicKey,
    /// What the peers' addresses begin with.
    network: [u8; 2],
    /// Datagrams that were sent to the relay.
    pub(crate) sent: Arc<AtomicU64>,
}

/// Some who stay, and send as fast as one thread can; they go on from other ports now and then.
pub(crate) struct Players {
    players: Vec<(Client, Socket)>,
    strangers: Vec<Socket>,
    load: Load,
    random: Random,
    pub(crate) moves: u32,
}

/// Who bind, talk a little, and leave: some say so, some do not.
pub(crate) struct Guests {
    load: Load,
    pub(crate) came: u32,
}

impl Load {
    /// By peers whose addresses begin so.
    pub(crate) fn new(relay: &Running, network: [u8; 2]) -> Self {
        let (key, relay) = (*relay.entry.public_key(), relay.entry.addresses()[0]);
        Self { relay, key, network, sent: Arc::default() }
    }

    /// The relay's port.
    pub(crate) fn port(&self) -> u16 {
        self.relay.port()
    }
}

impl Players {
    /// Eight of them; `group` tells them from others.
    pub(crate) fn bound(load: &Load, group: u8) -> Self {
        let bound = |n| {
            let mut socket = Socket::new(load, 10 + group);
            let client = socket.bound(group * 8 + n);
            (client, socket)
        };
        Self {
            players: (0..8).map(bound).collect(),
            strangers: (0..4).map(|n| Socket::new(load, 100 + group * 4 + n)).collect(),
            load: load.clone(),
            random: Random(77 + u64::from(group)),
            moves: 0,
        }
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.players.iter().map(|(client, _)| client.session)
    }

    /// Sends to `everybody`, one datagram in five being hostile, and lets one player after the
    /// other stay alive or move, until told to stop.
    pub(crate) fn play(&mut self, everybody: &[SessionId], stop: &AtomicBool) {
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) && self.moves > 0 {
                return;
            }
            for _ in 0..DATAGRAMS_A_TURN {
                if self.random.below(5) == 0 {
                    self.attack(everybody);
                } else {
                    self.talk(everybody);
                }
            }
            let index = turn % self.players.len();
            if turn % 3 == 2 {
                self.go_elsewhere(index);
            }
            let (client, socket) = &mut self.players[index];
            socket.keep_alive(client);
            for (client, socket) in &self.players {
                socket.listen(client.session);
            }
        }
    }

    /// Nobody has to bind again to be heard and to hear.
    pub(crate) fn assert_still_there(&mut self) {
        let count = self.players.len();
        for index in 0..count {
            let (client, socket) = &mut self.players[index];
            socket.keep_alive(client);
            socket.listen(client.session);
            let to = client.session;
            let datagram = datagram(to, 99, 60);
            self.players[(index + 1) % count].1.send(&datagram);
            let arrived = self.players[index].1.wait(PATIENCE, |heard| heard == datagram);
            assert!(arrived.is_some(), "player {index} hears nothing");
        }
    }

    fn talk(&mut self, everybody: &[SessionId]) {
        let to = everybody[self.random.below(everybody.len())];
        let len = LENS[self.random.below(LENS.len())];
        let fill = self.random.below(256) as u8;
        let from = self.random.below(self.players.len());
        self.players[from].1.send(&datagram(to, fill, len));
    }

    fn attack(&mut self, everybody: &[SessionId]) {
        let victim = everybody[self.random.below(everybody.len())];
        let mut bytes = datagram(victim, self.random.below(256) as u8, 60);
        let stranger = self.random.below(self.strangers.len());
        let insider = self.random.below(self.players.len());
        let (outside, inside) = (&self.strangers[stranger], &self.players[insider].1);
        match self.random.below(9) {
            0 => outside.send(&bytes),
            // A tag that was never given out, a slot that there is not, oneself.
            1 => inside.send(&datagram(SessionId::new(victim.slot(), victim.tag() ^ 1), 1, 60)),
            2 => inside.send(&datagram(SessionId::new(SessionId::SLOTS - 1, 7), 1, 60)),
            3 => inside.send(&datagram(self.players[insider].0.session, 1, 60)),
            4 => inside.send(&bytes[..self.random.below(28)]),
            5 => inside.send(&[0xff; 1473]),
            // Noise, of any kind that there is.
            6 => {
                bytes.iter_mut().for_each(|byte| *byte = self.random.below(256) as u8);
                outside.send(&bytes);
            }
            // Control datagrams of a session's own address, but not of who has its keys; others by
            // who has none.
            7 => {
                let (client, socket) = &mut self.players[insider];
                let mut forged = client.control(ControlMessage::KeepAlive { time: 7 });
                *forged.last_mut().unwrap() ^= 1;
                socket.send(&forged);
                outside.send(&forged);
            }
            _ => {
                let mut hello = [0; Hello::LEN];
                Hello { nonce: [9; 8] }.emit(&mut hello).unwrap();
                outside.send(&hello);
            }
        }
    }

    /// Another port, which may be another worker's: the session stays what it was.
    fn go_elsewhere(&mut self, index: usize) {
        let (client, socket) = &mut self.players[index];
        let session = client.session;
        *socket = Socket::new(&self.load, 10 + (self.moves % 40) as u8);
        client.address = socket.socket.local_addr().unwrap();
        let cookie = client.cookie(socket);
        client.resume(socket, cookie).unwrap();
        assert_eq!(client.session, session);
        let said = client.control(ControlMessage::KeepAlive { time: 9 });
        for _ in 0..3 {
            socket.send(&said);
        }
        socket.keep_alive(client);
        self.moves += 1;
    }
}

impl Guests {
    pub(crate) fn new(load: &Load) -> Self {
        Self { load: load.clone(), came: 0 }
    }

    pub(crate) fn come_and_go(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) || self.came == 0 {
            let n = 100 + (self.came % 100) as u8;
            let mut socket = Socket::new(&self.load, n);
            let mut client = socket.bound(n);
            socket.send(&datagram(client.session, 3, 60));
            if !self.came.is_multiple_of(3) {
                // Twice: the other one was said before.
                let unbind = client.control(ControlMessage::Unbind);
                socket.send(&unbind);
                socket.send(&unbind);
            }
            self.came += 1;
        }
    }
}

/// A socket that knows the relay; asks until it is answered.
struct Socket {
    socket: UdpSocket,
    load: Load,
}

impl Socket {
    /// `net` is the third byte of its address: a relay answers each network at its rate.
    fn new(load: &Load, net: u8) -> Self {
        let [first, second] = load.network;
        let socket = UdpSocket::bind((Ipv4Addr::new(first, second, net, 1), 0)).unwrap();
        socket.connect(load.relay).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, load: load.clone() }
    }

    fn bound(&mut self, n: u8) -> Client {
        let mut client = Client::new(n);
        client.address = self.socket.local_addr().unwrap();
        client.bind(self, false);
        self.keep_alive(&mut client);
        client
    }

    fn send(&self, datagram: &[u8]) {
        // A full way out of this machine is not the relay's matter.
        if self.socket.send(datagram).is_ok() {
            self.load.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that it lives until that is acknowledged, each time anew.
    fn keep_alive(&mut self, client: &mut Client) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.send(&client.control(ControlMessage::KeepAlive { time: 6 }));
            let ack = Some(ControlMessage::KeepAliveAck { time: 6 });
            if self.wait(SOON, |heard| client.open(heard) == ack).is_some() {
                return;
            }
            assert!(Instant::now() < end, "a session was lost");
        }
    }

    /// Takes what has come: data for `session`, as it was sent, or what a relay says.
    fn listen(&self, session: SessionId) {
        let mut bytes = [0; 2048];
        while let Ok(len) = self.socket.recv(&mut bytes) {
            let heard = &bytes[..len];
            if heard[0] >= 0x80 {
                assert_eq!(heard[1..8], session.to_bytes());
                assert!(heard[9..].iter().all(|byte| *byte == heard[8]), "changed: {heard:02x?}");
            }
        }
    }

    /// The next datagram that is `wanted`.
    fn wait(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + patience;
        let mut bytes = [0; 2048];
        while Instant::now() < end {
            match self.socket.recv(&mut bytes) {
                Ok(len) if wanted(&bytes[..len]) => return Some(bytes[..len].to_vec()),
                Ok(_) => {}
                Err(_) => std::thread::park_timeout(Duration::from_micros(200)),
            }
        }
        None
    }
}

impl Hop for Socket {
    fn relay_key(&self) -> PublicKey {
        self.load.key
    }

    /// What is lost is sent again; it is answered the same again.
    fn exchange(&mut self, _: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let is_hello = Hello::parse(datagram).is_ok();
        let answers = |heard: &[u8]| {
            let is_cookie = CookieReply::parse(heard).is_ok();
            let is_session = Bound::parse(heard).is_ok()
                || Resumed::parse(heard).is_ok()
                || Refused::parse(heard).is_ok();
            if is_hello { is_cookie } else { is_session }
        };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.send(datagram);
            let answer = self.wait(SOON, answers);
            if answer.is_some() {
                return answer;
            }
        }
        None
    }
}

/// A data datagram that shows if it is changed.
fn datagram(to: SessionId, fill: u8, len: usize) -> Vec<u8> {
    let mut datagram = vec![fill; len.max(28)];
    datagram[0] = 0x80;
    datagram[1..8].copy_from_slice(&to.to_bytes());
    datagram
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

const LENS: [usize; 6] = [28, 31, 129, 129, 170, 1200];
const DATAGRAMS_A_TURN: u32 = 2000;
const SOON: Duration = Duration::from_millis(100);
/// For an answer of a relay that is sent more than it can take.
const PATIENCE: Duration = Duration::from_secs(30);

//! quinn-proto: datagrams for unreliable messages, one stream each way for reliable ones, and
//! everything else as it comes.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use quinn_proto::congestion::BbrConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, ServerConfig, StreamId, TransportConfig,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use waylane_core::time::Instant;

use crate::peer::{Channel, Library, Peer};

/// As it comes.
pub const CUBIC: Library = Library { name: "quinn cubic", make: |seed| pair(seed, false) };
/// With the other congestion control that it has.
pub const BBR: Library = Library { name: "quinn bbr", make: |seed| pair(seed, true) };

struct Quic {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    connected: bool,
    epoch: std::time::Instant,
    out: VecDeque<Vec<u8>>,
    inbox: VecDeque<(Channel, Vec<u8>)>,
    sending: Option<StreamId>,
    receiving: Option<StreamId>,
    /// The part of the last message that the stream had no room for.
    unwritten: Vec<u8>,
    /// What has been read of the next message.
    assembled: BytesMut,
}

fn pair(seed: u64, bbr: bool) -> [Box<dyn Peer>; 2] {
    let (client, server) = configs(bbr);
    let epoch = epoch();
    let mut caller = Quic::new(endpoint(seed, None), epoch);
    let called = Quic::new(endpoint(!seed, Some(Arc::new(server))), epoch);
    let connection = caller.endpoint.connect(epoch, client, OTHER, NAME);
    caller.connection = Some(connection.expect("a good configuration"));
    [Box::new(caller), Box::new(called)]
}

/// An endpoint that draws what it may from the seed.
pub fn endpoint(seed: u64, server: Option<Arc<ServerConfig>>) -> Endpoint {
    let mut config = EndpointConfig::default();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    config.rng_seed(Some(bytes));
    Endpoint::new(Arc::new(config), server, true, None)
}

/// For who calls and for who is called.
pub fn configs(bbr: bool) -> (ClientConfig, ServerConfig) {
    static IDENTITY: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec![NAME.into()]).expect("a name");
        (made.cert.der().clone(), made.signing_key.serialize_der())
    });
    let mut transport = TransportConfig::default();
    if bbr {
        transport.congestion_controller_factory(Arc::new(BbrConfig::default()));
    }
    let transport = Arc::new(transport);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
    let mut server = ServerConfig::with_single_cert(vec![certificate.clone()], key)
        .expect("the key is the certificate's");
    server.transport_config(Arc::clone(&transport));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a good certificate");
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).expect("a root");
    client.transport_config(transport);
    (client, server)
}

/// Where its clock, which can be read but not made, begins.
pub fn epoch() -> std::time::Instant {
    std::time::Instant::now()
}

/// Takes all events of a connection and of its endpoint; whether they say that it is connected now.
///
/// # Panics
/// If the connection ends.
pub fn take_events(
    endpoint: &mut Endpoint,
    handle: ConnectionHandle,
    connection: &mut Connection,
) -> bool {
    while let Some(event) = connection.poll_endpoint_events() {
        if let Some(event) = endpoint.handle_event(handle, event) {
            connection.handle_event(event);
        }
    }
    let mut connected = false;
    while let Some(event) = connection.poll() {
        match event {
            Event::Connected => connected = true,
            Event::ConnectionLost { reason } => panic!("quinn's connection ends: {reason}"),
            Event::HandshakeDataReady
            | Event::Stream(_)
            | Event::DatagramReceived
            | Event::DatagramsUnblocked => {}
        }
    }
    connected
}

impl Quic {
    fn new(endpoint: Endpoint, epoch: std::time::Instant) -> Self {
        Self {
            endpoint,
            connection: None,
            connected: false,
            epoch,
            out: VecDeque::new(),
            inbox: VecDeque::new(),
            sending: None,
            receiving: None,
            unwritten: Vec::new(),
            assembled: BytesMut::new(),
        }
    }

    fn at(&self, now: Instant) -> std::time::Instant {
        self.epoch + now.since(Instant::ZERO)
    }

    /// Takes events and data until there are none.
    fn settle(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        self.connected |= take_events(&mut self.endpoint, *handle, connection);
        while let Some(message) = connection.datagrams().recv() {
            self.inbox.push_back((Channel::Unreliable, message.to_vec()));
        }
        if self.receiving.is_none() {
            self.receiving = connection.streams().accept(Dir::Uni);
        }
        if let Some(stream) = self.receiving {
            let mut stream = connection.recv_stream(stream);
            let mut chunks = stream.read(true).expect("the stream is open");
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                self.assembled.extend_from_slice(&chunk.bytes);
            }
            // What it wants to send is asked for anyway.
            let _ = chunks.finalize();
        }
        while let Some(message) = take_message(&mut self.assembled) {
            self.inbox.push_back((Channel::Reliable, message));
        }
    }

    fn write(&mut self) {
        let (Some(stream), Some((_, connection))) = (self.sending, &mut self.connection) else {
            return;
        };
        while !self.unwritten.is_empty() {
            match connection.send_stream(stream).write(&self.unwritten) {
                Ok(written) => drop(self.unwritten.drain(..written)),
                Err(_) => break,
            }
        }
    }
}

impl Peer for Quic {
    fn connected(&self) -> bool {
        self.connected
    }

    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let (now, mut reply) = (self.at(now), Vec::new());
        let datagram = BytesMut::from(datagram);
        match self.endpoint.handle(now, OTHER, None, None, datagram, &mut reply) {
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, now, &mut reply, None);
                self.connection = Some(accepted.map_err(|error| error.cause).expect("a good call"));
            }
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.out.push_back(reply[..transmit.size].to_vec());
            }
            None => {}
        }
        self.settle();
    }

    fn wake(&mut self, now: Instant) {
        let now = self.at(now);
        if let Some((_, connection)) = &mut self.connection
            && connection.poll_timeout().is_some_and(|due| due <= now)
        {
            connection.handle_timeout(now);
        }
        self.settle();
    }

    fn wakes_at(&mut self) -> Instant {
        let due = self.connection.as_mut().and_then(|(_, connection)| connection.poll_timeout());
        due.map_or(Instant::FAR, |due| {
            Instant::from_micros((due - self.epoch).as_nanos().div_ceil(1000) as u64)
        })
    }

    fn send(&mut self, _now: Instant, channel: Channel, message: &[u8]) -> bool {
        let Some((_, connection)) = &mut self.connection else { return false };
        if channel == Channel::Unreliable {
            let message = Bytes::copy_from_slice(message);
            return connection.datagrams().send(message, true).is_ok();
        }
        if !self.unwritten.is_empty() {
            return false;
        }
        self.sending = self.sending.or_else(|| connection.streams().open(Dir::Uni));
        put_message(&mut self.unwritten, message);
        self.write();
        true
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if let Some(reply) = self.out.pop_front() {
            return Some(reply);
        }
        self.write();
        let (now, mut datagram) = (self.at(now), Vec::new());
        let (_, connection) = self.connection.as_mut()?;
        let transmit = connection.poll_transmit(now, 1, &mut datagram);
        if transmit.is_none() {
            self.settle();
        }
        datagram.truncate(transmit?.size);
        Some(datagram)
    }

    fn receive(&mut self, _now: Instant) -> Option<(Channel, Vec<u8>)> {
        self.inbox.pop_front()
    }
}

/// A stream has no messages: two bytes say how long a short one is, four a long one.
pub fn put_message(stream: &mut Vec<u8>, message: &[u8]) {
    let length = message.len() as u32;
    if length < 1 << 15 {
        stream.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        stream.extend_from_slice(&(length | 1 << 31).to_be_bytes());
    }
    stream.extend_from_slice(message);
}

/// The next message of a stream, once it is whole.
pub fn take_message(stream: &mut BytesMut) -> Option<Vec<u8>> {
    let short = u16::from_be_bytes(*stream.first_chunk()?);
    let (head, length) = if short < 1 << 15 {
        (2, usize::from(short))
    } else {
        (4, (u32::from_be_bytes(*stream.first_chunk()?) & !(1 << 31)) as usize)
    };
    if stream.len() < head + length {
        return None;
    }
    let message = stream.split_to(head + length);
    Some(message[head..].to_vec())
}

/// Whom the certificate names.
pub const NAME: &str = "peer";
/// An address of the network kept for documentation (RFC 5737).
pub const OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4433);

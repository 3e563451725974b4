//! quinn-proto driven with as little beside it as can be, for counting what it costs.

use core::cmp::Reverse;
use core::hint::black_box;
use core::net::SocketAddr;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, Event, ServerConfig,
    StreamId,
};
use std::time::Instant;

use crate::peer::Channel;
use crate::quic::endpoint;

/// An endpoint and its connections.
pub struct Node {
    /// Datagrams to send.
    pub out: Outbox,
    /// Bytes of messages that have arrived.
    pub heard: u64,
    /// Connections that are up.
    pub connected: u32,
    endpoint: Endpoint,
    slots: Vec<Slot>,
    /// Deadlines, and some that are none any more.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Connections that have something to do.
    busy: Vec<usize>,
    buffer: Vec<u8>,
}

/// Datagrams in one piece of memory, so that keeping them costs next to nothing.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<(SocketAddr, usize)>,
}

struct Slot {
    connection: Connection,
    timer: Option<Instant>,
    busy: bool,
    sending: Option<StreamId>,
    receiving: Option<StreamId>,
}

impl Outbox {
    /// Adds one.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.ends.push((to, self.bytes.len()));
    }

    /// All of them, with where they go.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |&(to, end)| (to, &self.bytes[core::mem::replace(&mut start, end)..end]))
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Takes the memory of another back, if nothing was put in meanwhile.
    pub fn recycle(&mut self, mut used: Self) {
        if self.is_empty() {
            used.clear();
            *self = used;
        }
    }
}

impl Node {
    /// An endpoint without connections.
    pub fn new(seed: u64, server: Option<Arc<ServerConfig>>) -> Self {
        Self {
            out: Outbox::default(),
            heard: 0,
            connected: 0,
            endpoint: endpoint(seed, server),
            slots: Vec::new(),
            timers: BinaryHeap::new(),
            busy: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Calls another.
    pub fn connect(&mut self, now: Instant, config: ClientConfig, to: SocketAddr) {
        let connection = self.endpoint.connect(now, config, to, crate::quic::NAME);
        let (handle, connection) = connection.expect("a good configuration");
        self.add(handle, connection);
    }

    /// Takes a datagram.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.buffer.clear();
        let datagram = BytesMut::from(datagram);
        match self.endpoint.handle(now, from, None, None, datagram, &mut self.buffer) {
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, now, &mut self.buffer, None);
                let (handle, connection) =
                    accepted.map_err(|error| error.cause).expect("a good call");
                self.add(handle, connection);
            }
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.slots[handle.0].connection.handle_event(event);
                self.occupy(handle.0);
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.out.push(transmit.destination, &self.buffer[..transmit.size]);
            }
            None => {}
        }
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Instant) {
        while let Some(Reverse((due, number))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            let slot = &mut self.slots[number];
            if slot.timer == Some(due) {
                slot.timer = None;
                slot.connection.handle_timeout(now);
                self.occupy(number);
            }
        }
    }

    /// Hands a message over.
    pub fn send(&mut self, number: usize, channel: Channel, message: &[u8]) {
        let Slot { connection, sending, .. } = &mut self.slots[number];
        if channel == Channel::Unreliable {
            let message = Bytes::copy_from_slice(message);
            connection.datagrams().send(message, true).expect("room");
        } else {
            *sending = sending.or_else(|| connection.streams().open(Dir::Uni));
            let mut stream = connection.send_stream(sending.expect("a stream may be opened"));
            let head = (message.len() as u16).to_be_bytes();
            let written = stream.write(&head).expect("room") + stream.write(message).expect("room");
            assert_eq!(written, message.len() + 2);
        }
        self.occupy(number);
    }

    /// Takes what has arrived, and puts what is to be sent into `out`.
    pub fn settle(&mut self, now: Instant) {
        while let Some(number) = self.busy.pop() {
            let slot = &mut self.slots[number];
            slot.busy = false;
            loop {
                while let Some(event) = slot.connection.poll_endpoint_events() {
                    let event = self.endpoint.handle_event(ConnectionHandle(number), event);
                    if let Some(event) = event {
                        slot.connection.handle_event(event);
                    }
                }
                while let Some(event) = slot.connection.poll() {
                    match event {
                        Event::Connected => self.connected += 1,
                        Event::ConnectionLost { reason } => panic!("a connection ends: {reason}"),
                        Event::HandshakeDataReady
                        | Event::Stream(_)
                        | Event::DatagramReceived
                        | Event::DatagramsUnblocked => {}
                    }
                }
                self.heard += slot.read();
                self.buffer.clear();
                let transmit = slot.connection.poll_transmit(now, 1, &mut self.buffer);
                let Some(transmit) = transmit else { break };
                self.out.push(transmit.destination, &self.buffer[..transmit.size]);
            }
            let timer = slot.connection.poll_timeout();
            if timer != slot.timer {
                slot.timer = timer;
                self.timers.extend(timer.map(|due| Reverse((due, number))));
            }
        }
    }

    fn add(&mut self, handle: ConnectionHandle, connection: Connection) {
        assert_eq!(handle.0, self.slots.len(), "none is ever removed");
        let (timer, busy, sending, receiving) = (None, false, None, None);
        self.slots.push(Slot { connection, timer, busy, sending, receiving });
        self.occupy(handle.0);
    }

    fn occupy(&mut self, number: usize) {
        if !core::mem::replace(&mut self.slots[number].busy, true) {
            self.busy.push(number);
        }
    }
}

impl Slot {
    fn read(&mut self) -> u64 {
        let mut bytes = 0;
        while let Some(message) = self.connection.datagrams().recv() {
            bytes += message.len();
            black_box(message);
        }
        if self.receiving.is_none() {
            self.receiving = self.connection.streams().accept(Dir::Uni);
        }
        if let Some(stream) = self.receiving {
            let mut stream = self.connection.recv_stream(stream);
            let mut chunks = stream.read(true).expect("the stream is open");
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                bytes += chunk.bytes.len();
                black_box(chunk);
            }
            // What it wants to send is asked for anyway.
            let _ = chunks.finalize();
        }
        bytes as u64
    }
}

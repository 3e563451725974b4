//! renet over renetcode, which encrypts: called 60 times a second, as it is made to be; what arrives
//! is taken at once.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use renet::{ChannelConfig, ConnectionConfig, RenetClient, SendType};
use renetcode::{
    ClientAuthentication, ConnectToken, NetcodeClient, NetcodeServer, ServerAuthentication,
    ServerConfig, ServerResult,
};
use waylane_core::time::Instant;
use waylane_sim::FRAME;

use crate::peer::{Channel, Library, Peer};

/// As it comes.
pub const RENET: Library = Library { name: "renet", make: |_| pair(Duration::from_millis(300)) };
/// Sending again after a third of the time.
pub const RENET_100: Library =
    Library { name: "renet, 100 ms resend", make: |_| pair(Duration::from_millis(100)) };

struct Renet {
    netcode: Netcode,
    /// The server's end is one of these too.
    renet: RenetClient,
    /// What both have been told.
    time: Instant,
    frame_at: Instant,
    out: VecDeque<Vec<u8>>,
}

enum Netcode {
    Client(Box<NetcodeClient>),
    Server(Box<NetcodeServer>),
}

fn pair(resend_time: Duration) -> [Box<dyn Peer>; 2] {
    let key = [7; 32];
    let (now, addresses) = (Duration::ZERO, vec![SERVER]);
    let connect_token =
        ConnectToken::generate(now, PROTOCOL, 3600, CLIENT_ID, 15, addresses.clone(), None, &key)
            .expect("a good token");
    let client = NetcodeClient::new(now, ClientAuthentication::Secure { connect_token })
        .expect("a good token");
    let server = NetcodeServer::new(ServerConfig {
        current_time: now,
        max_clients: 1,
        protocol_id: PROTOCOL,
        public_addresses: addresses,
        authentication: ServerAuthentication::Secure { private_key: key },
    });
    let both = [Netcode::Client(Box::new(client)), Netcode::Server(Box::new(server))];
    both.map(|netcode| -> Box<dyn Peer> {
        Box::new(Renet {
            netcode,
            renet: RenetClient::new(config(resend_time)),
            time: Instant::ZERO,
            frame_at: Instant::ZERO,
            out: VecDeque::new(),
        })
    })
}

/// Two of its three default channels, with their default memory.
fn config(resend_time: Duration) -> ConnectionConfig {
    let channel = |channel_id, send_type| ChannelConfig {
        channel_id,
        max_memory_usage_bytes: 5 * 1024 * 1024,
        send_type,
    };
    let channels = vec![
        channel(Channel::Unreliable as u8, SendType::Unreliable),
        channel(Channel::Reliable as u8, SendType::ReliableOrdered { resend_time }),
    ];
    ConnectionConfig {
        server_channels_config: channels.clone(),
        client_channels_config: channels,
        ..ConnectionConfig::default()
    }
}

impl Renet {
    /// What a program does at the end of each turn of its loop.
    fn frame(&mut self, now: Instant) {
        self.frame_at = now + FRAME;
        let passed = now.since(self.time);
        self.time = now;
        self.renet.update(passed);
        match &mut self.netcode {
            Netcode::Client(client) => {
                if let Some((datagram, _)) = client.update(passed) {
                    self.out.push_back(datagram.to_vec());
                }
            }
            Netcode::Server(server) => {
                server.update(passed);
                answer(server.update_client(CLIENT_ID), &mut self.out, &mut self.renet);
            }
        }
        if !self.connected() {
            return;
        }
        self.renet.set_connected();
        for packet in self.renet.get_packets_to_send() {
            let sealed = match &mut self.netcode {
                Netcode::Client(client) => client.generate_payload_packet(&packet),
                Netcode::Server(server) => server.generate_payload_packet(CLIENT_ID, &packet),
            };
            self.out.push_back(sealed.expect("connected").1.to_vec());
        }
        let reason = self.renet.disconnect_reason();
        assert!(reason.is_none(), "renet's connection ends: {reason:?}");
    }
}

fn answer(result: ServerResult<'_, '_>, out: &mut VecDeque<Vec<u8>>, renet: &mut RenetClient) {
    match result {
        ServerResult::PacketToSend { payload, .. }
        | ServerResult::ClientConnected { payload, .. } => out.push_back(payload.to_vec()),
        ServerResult::Payload { payload, .. } => renet.process_packet(payload),
        ServerResult::ClientDisconnected { .. } => panic!("renetcode's connection ends"),
        ServerResult::None => {}
    }
}

impl Peer for Renet {
    fn connected(&self) -> bool {
        match &self.netcode {
            Netcode::Client(client) => client.is_connected(),
            Netcode::Server(server) => server.is_client_connected(CLIENT_ID),
        }
    }

    fn begin(&mut self, at: Instant) {
        self.frame_at = at;
    }

    fn handle(&mut self, _now: Instant, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        match &mut self.netcode {
            Netcode::Client(client) => {
                if let Some(packet) = client.process_packet(&mut datagram) {
                    self.renet.process_packet(packet);
                }
            }
            Netcode::Server(server) => {
                let result = server.process_packet(CLIENT, &mut datagram);
                answer(result, &mut self.out, &mut self.renet);
            }
        }
    }

    fn wake(&mut self, _now: Instant) {}

    fn wakes_at(&mut self) -> Instant {
        self.frame_at
    }

    fn send(&mut self, _now: Instant, channel: Channel, message: &[u8]) -> bool {
        let room = self.renet.can_send_message(channel as u8, message.len());
        if room {
            self.renet.send_message(channel as u8, message.to_vec());
        }
        room
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        // The program has said what it wants to say: its turn ends.
        if now >= self.frame_at {
            self.frame(now);
        }
        self.out.pop_front()
    }

    fn receive(&mut self, _now: Instant) -> Option<(Channel, Vec<u8>)> {
        [Channel::Unreliable, Channel::Reliable].into_iter().find_map(|channel| {
            let message = self.renet.receive_message(channel as u8)?;
            Some((channel, message.to_vec()))
        })
    }
}

const PROTOCOL: u64 = 4;
const CLIENT_ID: u64 = 1;
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4433);
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 4433);

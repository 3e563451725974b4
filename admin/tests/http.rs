//! The admin port over real sockets.
#![allow(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use waylane::{NetworkManager, RelayEntry};
use waylane_admin::{Admin, FetchError, Scrape, fetch};
use waylane_relay::io::{Outgoing, Sent, Waker};
use waylane_relay::{BackEnd, Config, Inherited, Io, Relay};

#[test]
fn each_path_says_what_it_is_for() {
    let (_relay, admin) = admin();
    let at = |path| fetch(admin.address(), path);
    assert_eq!(at("/live").unwrap(), "live\n");
    assert!(at("/version").unwrap().contains(env!("CARGO_PKG_VERSION")));
    assert!(at("/").unwrap().contains("<title>Waylane relay</title>"));
    assert!(at("/?x=1").unwrap().contains("<title>"));
    assert!(Scrape::parse(&at("/metrics").unwrap()).unwrap().get("waylane_sessions_max") > 1.0);
    let Err(FetchError::Status { code: 404, says }) = at("/secret") else { panic!() };
    assert!(says.contains("/metrics"), "{says}");
}

#[test]
fn who_takes_only_prometheus_own_text_gets_that() {
    let (_relay, admin) = admin();
    let asked = |accept: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n");
        raw(admin.address(), request.as_bytes())
    };
    // As Prometheus asks, since it knows OpenMetrics, and as browsers and curl do.
    for accept in [
        "",
        "Accept: */*\r\n",
        "Accept: text/html, */*;q=0.8\r\n",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2\r\n",
    ] {
        let answer = asked(accept);
        assert!(answer.contains("application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }
    let answer = asked("accept: text/plain; version=0.0.4\r\n");
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    for line in [
        "# TYPE waylane_received_packets_total counter",
        "waylane_received_packets_total 0",
        "# TYPE waylane_build_info gauge",
        "# TYPE waylane_batch_packets histogram",
    ] {
        assert!(answer.lines().any(|other| other == line), "{line}: {answer}");
    }
    assert!(!answer.contains("# UNIT") && !answer.contains("# EOF"), "{answer}");
    // The same samples, in the same order, but for what time has changed.
    let samples = |answer: &str| -> Vec<String> {
        let lines = answer.split("\r\n\r\n").nth(1).unwrap().lines();
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(samples(&answer), samples(&asked("")));
}

#[test]
fn ready_follows_what_the_relay_is_at() {
    let (mut relay, admin) = admin();
    let ready = || fetch(admin.address(), "/ready");
    let not = |why: &str| match ready() {
        Err(FetchError::Status { code: 503, says }) => assert_eq!(says, why),
        other => panic!("{why}: {other:?}"),
    };
    not("starting");
    let (handle, entry) = (relay.handle(), relay.entry().clone());
    let thread = std::thread::spawn(move || relay.run().unwrap());
    while ready().is_err() {}
    // An empty relay would not drain but stop.
    let _player = connected(entry);
    handle.drain(Duration::from_secs(60));
    not("draining");
    handle.stop();
    thread.join().unwrap();
    not("stopped");
}

/// One worker of a real relay stands still; all else goes on.
#[test]
fn live_is_so_no_longer_when_a_worker_hangs() {
    let hang = Arc::new(AtomicBool::new(false));
    let back_end = |config: &Config, inherited: Inherited| {
        let mut back_end = BackEnd::portable(config, inherited)?;
        back_end.workers = (back_end.workers.into_iter())
            .map(|io| Box::new(Hanging { io, hang: Arc::clone(&hang) }) as Box<dyn Io + Send>)
            .collect();
        Ok(back_end)
    };
    let mut relay = Relay::over(&config(), back_end).unwrap();
    let handle = relay.handle();
    let admin = Admin::serve("127.0.0.1:0".parse().unwrap(), handle.clone()).unwrap();
    let thread = std::thread::spawn(move || relay.run().unwrap());
    let live = || fetch(admin.address(), "/live");
    let is_live = || live().is_ok();
    while fetch(admin.address(), "/ready").is_err() {}
    let begin = Instant::now();
    assert!(is_live());
    hang.store(true, Ordering::Relaxed);
    while is_live() {
        assert!(begin.elapsed() < Duration::from_secs(120), "nobody notices");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let Err(FetchError::Status { code: 503, says }) = live() else { panic!() };
    assert_eq!(says, "a thread of the relay stands still");
    // It goes on, and all is well.
    hang.store(false, Ordering::Relaxed);
    while !is_live() {}
    handle.stop();
    thread.join().unwrap();
}

/// Does what the real one does, until it hangs.
struct Hanging {
    io: Box<dyn Io + Send>,
    hang: Arc<AtomicBool>,
}

impl Io for Hanging {
    fn receive(&mut self, wait: Duration) -> std::io::Result<usize> {
        while self.hang.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.io.receive(wait)
    }

    fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        self.io.datagram(index)
    }

    fn send(&mut self, outgoing: &[Outgoing], sent: &mut Sent) {
        self.io.send(outgoing, sent);
    }

    fn waker(&self) -> Waker {
        self.io.waker()
    }
}

#[test]
fn the_page_may_ask_nobody_else() {
    let (_relay, admin) = admin();
    let answer = raw(admin.address(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("default-src 'none'; connect-src 'self'"), "{head}");
    assert!(head.contains("Cache-Control: no-store"), "{head}");
    // What a browser would fetch by itself: nothing but data within the page.
    for loads in ["src=", "@import", "url(", "//cdn", "https://"] {
        assert!(!body.contains(loads), "the page has {loads}");
    }
}

#[test]
fn what_is_no_request_is_refused_and_ends() {
    let (_relay, admin) = admin();
    let status = |request: &[u8]| {
        let answer = raw(admin.address(), request);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(b"GET /live HTTP/1.1\r\n\r\n"), "200");
    assert_eq!(status(b"POST /live HTTP/1.1\r\n\r\n"), "405");
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "400");
    assert_eq!(status(&[b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 8192]].concat()), "431");
    assert_eq!(
        status(&[b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(65), b"\r\n"].concat()),
        "431"
    );
    let head = raw(admin.address(), b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn those_who_hold_connections_keep_nobody_out_for_long() {
    let (_relay, admin) = admin();
    // They say nothing at all, or never come to the end.
    let idle: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut connection = TcpStream::connect(admin.address()).unwrap();
            if n % 2 == 0 {
                connection.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            }
            connection
        })
        .collect();
    let answers: Vec<String> = idle.iter().map(read).collect();
    let with = |status: &str| answers.iter().filter(|a| a.contains(status)).count();
    assert!(with("HTTP/1.1 503") > 0, "more than 16 are told at once: {answers:?}");
    assert_eq!(with("HTTP/1.1 503") + with("HTTP/1.1 408"), 40, "{answers:?}");
    // The others have been told that they are too slow, and their places are free again.
    assert_eq!(fetch(admin.address(), "/live").unwrap(), "live\n");
}

#[test]
fn it_closes_with_its_owner() {
    let (_relay, admin) = admin();
    let address = admin.address();
    drop(admin);
    assert!(TcpStream::connect(address).is_err());
}

fn config() -> Config {
    let mut config = Config::dev();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

fn admin() -> (Relay, Admin) {
    let relay = Relay::bind(&config()).unwrap();
    let admin = Admin::serve("127.0.0.1:0".parse().unwrap(), relay.handle()).unwrap();
    (relay, admin)
}

/// A player with a session at the relay.
fn connected(entry: RelayEntry) -> NetworkManager {
    let config = waylane::Config { directory: vec![entry], ..waylane::Config::default() };
    let mut player = NetworkManager::new(config).unwrap();
    let mut is_connected = false;
    while !is_connected {
        player.run_callbacks(|_, event| {
            is_connected |= matches!(event, waylane::Event::RelayConnected { .. });
        });
        player.wait(Duration::from_millis(10));
    }
    player
}

fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request).unwrap();
    read(&connection)
}

/// All that comes until the other side closes; what was not read there ends it early.
fn read(mut connection: &TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(len @ 1..) = connection.read(&mut part) {
        answer.extend_from_slice(&part[..len]);
    }
    String::from_utf8(answer).unwrap()
}

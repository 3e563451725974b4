//! A small server for HTTP/1.1: a request a connection, a bounded number of connections, and none
//! of them for long.
//!
//! Requests are parsed by `httparse`. What serves more than that brings an asynchronous runtime or
//! an unbounded pool of threads along, and has no limit on how slowly a request may come.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use waylane_relay::RelayHandle;

use crate::answer::{Answer, Site};
use crate::openmetrics::Format;

/// A relay's admin port, open until this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Begins to answer at `address`; port 0 is any free one.
    ///
    /// # Errors
    /// The system's, when it does not give the address or no thread.
    pub fn serve(address: SocketAddr, relay: RelayHandle) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let server = Server {
            listener,
            stop: Arc::clone(&stop),
            site: Arc::new(Site::new(relay)),
            open: Arc::default(),
        };
        let named = thread::Builder::new().name("waylane-admin".to_owned());
        let thread = Some(named.spawn(move || server.run())?);
        Ok(Self { address, stop, thread })
    }

    /// Where it answers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread waits for a connection; this is one. If there can be none, it is left alone.
        let reached = TcpStream::connect_timeout(&reachable(self.address), PATIENCE).is_ok();
        if let Some(thread) = self.thread.take()
            && reached
        {
            let _ = thread.join();
        }
    }
}

struct Server {
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    site: Arc<Site>,
    open: Arc<AtomicUsize>,
}

impl Server {
    fn run(&self) {
        for connection in self.listener.incoming() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            match connection {
                Ok(connection) => self.take(connection),
                // There is no file for it now, or it has gone again; not to be asked in a hurry.
                Err(_) => thread::park_timeout(Duration::from_millis(20)),
            }
        }
    }

    fn take(&self, mut connection: TcpStream) {
        let place = Place::take(&self.open);
        if place.number >= CONNECTIONS_MAX {
            let _ = connection.set_nonblocking(true);
            let _ = Answer::text(503, "too many connections\n").write(&mut connection, false);
            return;
        }
        let site = Arc::clone(&self.site);
        let named = thread::Builder::new().name("waylane-http".to_owned());
        // Without a thread the connection closes: whoever asked will ask again.
        let _ = named.spawn(move || {
            let _place = place;
            let _ = serve(connection, &site);
        });
    }
}

/// One of the connections there may be at once, until dropped.
struct Place {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        let number = open.fetch_add(1, Ordering::Relaxed);
        Self { open: Arc::clone(open), number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(mut connection: TcpStream, site: &Site) -> io::Result<()> {
    connection.set_write_timeout(Some(PATIENCE))?;
    let (answer, with_body) = match read_request(&mut connection) {
        Ok(request) => (site.answer(&request.path, request.format), !request.head_only),
        Err(Refusal::Gone) => return Ok(()),
        Err(Refusal::Slow) => (Answer::text(408, "the request took too long\n"), true),
        Err(Refusal::Long) => (Answer::text(431, "the request is too long\n"), true),
        Err(Refusal::Malformed) => (Answer::text(400, "this is not HTTP/1.1\n"), true),
        Err(Refusal::Method) => (Answer::text(405, "only GET is answered\n"), true),
    };
    answer.write(&mut connection, with_body)?;
    connection.shutdown(Shutdown::Write)
}

/// What is asked for: by GET, or by HEAD.
struct Request {
    path: String,
    head_only: bool,
    /// Of metrics, if it is these.
    format: Format,
}

enum Refusal {
    Gone,
    Slow,
    Long,
    Malformed,
    Method,
}

/// Reads until the request's head has come; what may follow it is not wanted.
fn read_request(connection: &mut TcpStream) -> Result<Request, Refusal> {
    let end = Instant::now() + PATIENCE;
    let mut head = [0; HEAD_MAX];
    let mut len = 0;
    loop {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        let left = left.ok_or(Refusal::Slow)?;
        connection.set_read_timeout(Some(left)).map_err(|_| Refusal::Gone)?;
        let space = head.get_mut(len..).filter(|space| !space.is_empty());
        match connection.read(space.ok_or(Refusal::Long)?) {
            Ok(0) => return Err(Refusal::Gone),
            Ok(more) => len += more,
            Err(error) if is_late(&error) => return Err(Refusal::Slow),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(Refusal::Gone),
        }
        if let Some(request) = parse(head.get(..len).unwrap_or_default())? {
            return Ok(request);
        }
    }
}

/// Systems differ in how they tell that nothing came in time.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The request, if its head is complete.
fn parse(head: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::Long),
        Err(_) => return Err(Refusal::Malformed),
    }
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::Method),
    };
    let target = request.path.unwrap_or_default();
    // Nothing here depends on a query.
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Some(Request { path, head_only, format: format_for(request.headers) }))
}

/// OpenMetrics, but for who takes text and does not know it.
fn format_for(headers: &[httparse::Header<'_>]) -> Format {
    let takes = |kind: &str| {
        headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept")).any(|header| {
            let value = core::str::from_utf8(header.value).unwrap_or_default();
            let mut kinds = value.split([',', ';']).map(str::trim);
            kinds.any(|taken| taken.eq_ignore_ascii_case(kind))
        })
    };
    if takes("text/plain") && !takes("application/openmetrics-text") {
        Format::Prometheus
    } else {
        Format::OpenMetrics
    }
}

/// How `address` is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let v4 = address.is_ipv4();
        address.set_ip(if v4 {
            core::net::Ipv4Addr::LOCALHOST.into()
        } else {
            core::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

impl Answer {
    fn write(&self, connection: &mut impl Write, with_body: bool) -> io::Result<()> {
        let body = if with_body { self.body.as_bytes() } else { &[] };
        let mut bytes = self.head().into_bytes();
        bytes.extend_from_slice(body);
        connection.write_all(&bytes)
    }
}

/// A person, a scraper, two probes, and some more.
const CONNECTIONS_MAX: usize = 16;
/// How long a request may take to come, and each part of an answer to leave.
const PATIENCE: Duration = Duration::from_secs(5);
const HEAD_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;

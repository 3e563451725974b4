//! `waylane top`: what a relay does, in a terminal.

mod frame;
mod number;

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, IsTerminal as _, Write as _, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use frame::{Frame, HISTORY};
use waylane_admin::{Scrape, fetch};
use waylane_relay::AdminChoice;

/// What `top` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The relay's admin port, as the relay tells it at its start.
    #[arg(long, value_name = "ADDR", default_value_t = AdminChoice::USUAL)]
    admin: SocketAddr,
    /// Look twice, a second apart, print what happened between, and end.
    #[arg(long)]
    once: bool,
}

/// Shows a relay until it is interrupted.
///
/// # Errors
/// With `--once`, when the relay's admin port cannot be reached.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut watch = Watch { admin: options.admin, looks: Vec::new(), trouble: None };
    if options.once {
        watch.look();
        std::thread::park_timeout(EVERY);
        watch.look();
        if let Some(why) = watch.trouble {
            let admin = options.admin;
            return Err(format!(
                "{admin}: {why}; a relay tells its admin port when it starts: name it by --admin"
            ));
        }
        return print(&format!("{}\n", watch.lines().join("\n"))).map_err(|e| e.to_string());
    }
    let interrupted = interrupted()?;
    let screen = Screen::open();
    loop {
        watch.look();
        // A reader that has gone away is an end as good as another.
        if screen.show(&watch.lines()).is_err() {
            return Ok(());
        }
        match interrupted.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// What was seen of a relay.
struct Watch {
    admin: SocketAddr,
    looks: Vec<Scrape>,
    trouble: Option<String>,
}

impl Watch {
    fn look(&mut self) {
        let look = fetch(self.admin, "/metrics").map_err(|error| error.to_string());
        let look = look.and_then(|text| Scrape::parse(&text).ok_or("no metrics".to_owned()));
        let look = match look {
            Ok(look) => look,
            Err(why) => {
                self.trouble = Some(why);
                return;
            }
        };
        self.trouble = None;
        let up = |look: &Scrape| look.get("waylane_uptime_seconds");
        // Another process counts anew.
        if self.looks.last().is_some_and(|last| up(&look) <= up(last)) {
            self.looks.clear();
        }
        if self.looks.len() > HISTORY {
            self.looks.remove(0);
        }
        self.looks.push(look);
    }

    fn lines(&self) -> Vec<String> {
        let address = self.admin.to_string();
        Frame { address, looks: &self.looks, trouble: self.trouble.as_deref() }.lines()
    }
}

/// A terminal, with what it showed before put aside until this is dropped; or anything else, which
/// gets frame after frame.
struct Screen {
    is_terminal: bool,
}

impl Screen {
    fn open() -> Self {
        let is_terminal = stdout().is_terminal();
        if is_terminal {
            let _ = print("\x1b[?1049h\x1b[?25l");
        }
        Self { is_terminal }
    }

    fn show(&self, lines: &[String]) -> io::Result<()> {
        if !self.is_terminal {
            return print(&format!("{}\n\n", lines.join("\n")));
        }
        let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
        print(&format!("\x1b[H{lines}\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = print("\x1b[?25h\x1b[?1049l");
        }
    }
}

/// Tells when Ctrl-C is pressed or the process is asked to end, so that the screen is given back.
fn interrupted() -> Result<Receiver<()>, String> {
    let (sender, interrupted) = channel();
    ctrlc::set_handler(move || {
        let _ = sender.send(());
    })
    .map_err(|error| error.to_string())?;
    Ok(interrupted)
}

fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

const EVERY: Duration = Duration::from_secs(1);

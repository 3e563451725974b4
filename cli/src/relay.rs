//! `waylane relay`: runs a relay until it is stopped.

use core::net::SocketAddr;
use std::io::IsTerminal;
use std::path::PathBuf;

use waylane_relay::{Config, IoChoice, Relay};

/// What `relay` is asked for.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// For development: serve every program on this machine, on loopback addresses only.
    #[arg(long, conflicts_with = "config")]
    dev: bool,
    /// Where to listen; instead of what the configuration says, or of 127.0.0.1:4433 with --dev.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A TOML file with at least 'mode' and 'listen'.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// With --dev: where the key is kept, so that the directory entry stays the same from start to
    /// start. Made if it is not there. Default: waylane/dev-relay.key in the user's state folder.
    #[arg(long, value_name = "FILE", requires = "dev")]
    key: Option<PathBuf>,
    /// By what to talk to the system; 'uring' and 'mmsg' on Linux only. Default: what the
    /// configuration says, or 'auto': the cheapest there is.
    #[arg(long, value_enum, value_name = "IO")]
    io: Option<Sockets>,
    /// Threads that forward; 0 for one for each processor. Default: what the configuration says.
    #[arg(long, value_name = "COUNT")]
    workers: Option<u16>,
    /// Keep each of them on one processor.
    #[arg(long)]
    pin: bool,
}

/// What `--io` can be.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Sockets {
    Auto,
    Uring,
    Mmsg,
    Std,
}

/// Runs a relay until it is stopped from outside.
///
/// # Errors
/// When the options do not say whom to serve, or the relay cannot be started.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
    let config = configuration(options)?;
    let mut relay = start(&config)?;
    if let Some(key) = &config.key_file {
        eprintln!("* key: {}", key.display());
    }
    if options.dev {
        eprintln!("*** OPEN TO EVERYBODY on this machine: for development, nothing else ***");
    }
    eprintln!("* directory entry, for 'waylane host --relay' or a game's directory:");
    println!("{}", relay.entry());
    relay.run().map_err(|e| format!("the relay cannot go on: {e}"))
}

fn configuration(options: &Options) -> Result<Config, String> {
    let mut config = match &options.config {
        Some(file) => Config::load(file).map_err(|e| e.to_string())?,
        None if options.dev => {
            let key = options.key.clone().map_or_else(default_key_file, Ok)?;
            let mut config = Config::dev();
            config.key_file = Some(key);
            config
        }
        None => return Err(NO_MODE.to_owned()),
    };
    if let Some(listen) = options.listen {
        config.listen = vec![listen];
    }
    if let Some(io) = options.io {
        config.io = match io {
            Sockets::Auto => IoChoice::Auto,
            Sockets::Uring => IoChoice::Uring,
            Sockets::Mmsg => IoChoice::Mmsg,
            Sockets::Std => IoChoice::Std,
        };
    }
    config.workers = options.workers.unwrap_or(config.workers);
    config.pin |= options.pin;
    Ok(config)
}

/// The relay, over the best that the system has.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(config: &Config) -> Result<Relay, String> {
    #[cfg(target_os = "linux")]
    let relay = Relay::over(config, waylane_runtime_linux::back_end);
    #[cfg(not(target_os = "linux"))]
    let relay = Relay::bind(config);
    relay.map_err(|error| error.to_string())
}

/// Where a development relay keeps its key. Makes the folder.
fn default_key_file() -> Result<PathBuf, String> {
    let state = STATE_FOLDERS.iter().find_map(|(variable, below)| {
        let folder = std::env::var_os(variable).filter(|folder| !folder.is_empty())?;
        Some(PathBuf::from(folder).join(below))
    });
    let folder = state.ok_or("this machine has no folder for keys: name a file by --key FILE")?;
    let folder = folder.join("waylane");
    std::fs::create_dir_all(&folder)
        .map_err(|e| format!("{}: {e}; name another file by --key FILE", folder.display()))?;
    Ok(folder.join("dev-relay.key"))
}

/// Where programs keep what should outlive them: the first of these variables that is set, and
/// the folder below it.
const STATE_FOLDERS: [(&str, &str); 3] =
    [("XDG_STATE_HOME", ""), ("LOCALAPPDATA", ""), ("HOME", ".local/state")];

const NO_MODE: &str = "whom is this relay for?
  waylane relay --dev              every program on this machine, on loopback only
  waylane relay --config FILE      as the file says; for a relay that serves everybody:
      mode = \"open\"
      listen = [\"0.0.0.0:4433\"]
      announce = [\"203.0.113.5:4433\"]   # where players reach it
      key_file = \"relay.key\"            # made if it is not there";

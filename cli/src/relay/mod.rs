//! `waylane relay`: runs a relay until it is stopped.

mod admin;
mod health;
mod log;
mod options;
mod service;
mod signals;

use waylane_relay::{Config, Relay, Settings, StartError, key_file, sample};

use crate::failure::Failure;
pub(crate) use options::Options;
use options::Task;

/// Runs a relay until it is stopped from outside, or does what else is asked for.
///
/// # Errors
/// When the settings do not serve, or the relay cannot be started.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match options.task {
        Task::Run => relay(options, &checked(options)?),
        Task::CheckConfig => check(&checked(options)?),
        Task::Health => health::check(&checked(options)?).map_err(Failure::from),
        Task::PrintConfig => {
            print!("{}", settings(options)?.print());
            Ok(())
        }
        Task::SampleConfig => {
            print!("{}", sample());
            Ok(())
        }
        #[cfg(unix)]
        Task::Apart => signals::start_apart().map_err(Failure::from),
    }
}

fn settings(options: &Options) -> Result<Settings, Failure> {
    let settings =
        options.settings().map_err(|error| Failure::new(Failure::CONFIGURATION, &error))?;
    if options.says_nothing(&settings) {
        return Err(Failure::new(Failure::CONFIGURATION, &NO_MODE));
    }
    Ok(settings)
}

fn checked(options: &Options) -> Result<Config, Failure> {
    settings(options)?.check().map_err(|error| Failure::new(Failure::CONFIGURATION, &error))
}

/// The settings serve; do the files that they name?
fn check(config: &Config) -> Result<(), Failure> {
    if let Some(path) = config.key_file.as_ref().filter(|path| path.exists()) {
        key_file::load(path).map_err(|error| Failure::new(Failure::KEY, &error))?;
    }
    eprintln!("* the settings serve");
    Ok(())
}

fn relay(options: &Options, config: &Config) -> Result<(), Failure> {
    log::begin(config.log_format);
    let mut relay = start(config)?;
    let _admin = if relay.takes_over() {
        admin::open_after(config.admin, relay.handle());
        None
    } else {
        admin::open(config.admin, relay.handle())?
    };
    if let Some(key) = &config.key_file {
        log::say(format_args!("key: {}", key.display()));
    }
    if options.dev {
        log::say(format_args!("OPEN TO EVERYBODY on this machine: for development, nothing else"));
    }
    let again = options.clone();
    let read = move || {
        again.settings().and_then(|settings| settings.check()).map_err(|error| error.to_string())
    };
    // A development relay belongs to its terminal, and ends with it.
    signals::follow(relay.handle(), (!options.dev).then_some(read))?;
    // Who has read the entry may send a signal at once, so it comes behind their being followed.
    log::say(format_args!("directory entry, for 'waylane host --relay' or a game's directory:"));
    println!("{}", relay.entry());
    service::watch(relay.handle());
    service::ready();
    let outcome = relay.run().map_err(|e| format!("the relay cannot go on: {e}").into());
    let counters = relay.counters();
    tracing::info!(
        received = counters.received(),
        forwarded = counters.forwarded(),
        dropped = counters.drops().map(|(_, count)| count).sum::<u64>(),
        "stopped"
    );
    outcome
}

/// The relay, over the best that the system has.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(config: &Config) -> Result<Relay, Failure> {
    #[cfg(target_os = "linux")]
    let relay = Relay::over(config, waylane_runtime_linux::back_end);
    #[cfg(not(target_os = "linux"))]
    let relay = Relay::bind(config);
    relay.map_err(|error| {
        let code = match &error {
            StartError::Config(_) | StartError::Entry(_) => Failure::CONFIGURATION,
            StartError::Bind(_) => Failure::LISTEN,
            StartError::Key(_) => Failure::KEY,
            StartError::Handover(_) | _ => 1,
        };
        Failure::new(code, &error)
    })
}

const NO_MODE: &str = "whom is this relay for?
  waylane relay --dev              every program on this machine, on loopback only
  waylane relay --config FILE      as the file says; for a relay that serves everybody:
      mode = \"open\"
      listen = [\"0.0.0.0:4433\"]
      announce = [\"203.0.113.5:4433\"]   # where players reach it
      key_file = \"relay.key\"            # made if it is not there
  waylane relay --sample-config    prints a file with every setting";

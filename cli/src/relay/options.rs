//! The relay's command line: a flag for each key of the configuration, and a few of its own.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, Error, FromArgMatches};
use waylane_relay::{ConfigError, KEYS, Key, Settings};

/// What `relay` is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Serve programs on this machine, by settings that need no file.
    pub(crate) dev: bool,
    /// What to do.
    pub(crate) task: Task,
    file: Option<PathBuf>,
    flags: Vec<(&'static Key, String)>,
}

/// What `waylane relay` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// Relays.
    Run,
    /// Says whether the settings serve.
    CheckConfig,
    /// Prints the settings.
    PrintConfig,
    /// Prints a sample file.
    SampleConfig,
    /// Asks the running relay whether it answers.
    Health,
    /// Starts the relay as nobody's child.
    #[cfg(unix)]
    Apart,
}

impl Options {
    /// The settings: of the file, of the environment, of the flags.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        let mut settings = Settings::new();
        let variable = std::env::var_os(FILE_VARIABLE).filter(|_| !self.dev).map(PathBuf::from);
        if let Some(file) = self.file.as_ref().or(variable.as_ref()) {
            settings.file(file)?;
        }
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        settings.environment(variables, &[FILE_VARIABLE])?;
        for (key, value) in &self.flags {
            settings.flag(key, value)?;
        }
        if self.dev {
            for (name, value) in DEV_VALUES {
                settings.suggest(name, value, DEV)?;
            }
            if !settings.has("key_file") {
                let listen = self.flags.iter().find(|(key, _)| key.name() == "listen");
                let file = dev_key_file(listen.map(|(_, listen)| listen.as_str()))
                    .map_err(|fix| ConfigError::new("key_file", &fix))?;
                settings.suggest("key_file", &file.to_string_lossy(), DEV)?;
            }
        }
        Ok(settings)
    }

    /// Whether anything at all says whom to serve.
    pub(crate) fn says_nothing(&self, settings: &Settings) -> bool {
        !self.dev && self.file.is_none() && !settings.has("mode")
    }
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let own = [
            switch(DEV).conflicts_with(FILE).help(
                "For development: serve every program on this machine, on loopback addresses only",
            ),
            Arg::new(FILE)
                .long(FILE)
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("A TOML file with settings, all of which are flags and variables, too"),
            switch(CHECK).help("Say whether the settings serve, and do nothing else"),
            switch(PRINT).help("Print the settings and where each comes from; no file is opened"),
            switch(HEALTH).help("Say whether the relay that runs by these settings answers"),
            switch(SAMPLE).help("Print a file with every setting and what it is for"),
            // What a relay that is told to upgrade starts.
            #[cfg(unix)]
            switch(APART).hide(true),
        ];
        let tasks = ArgGroup::new("task").args([CHECK, PRINT, SAMPLE, HEALTH]);
        command.args(own).group(tasks).args(KEYS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let task = match () {
            () if matches.get_flag(CHECK) => Task::CheckConfig,
            () if matches.get_flag(PRINT) => Task::PrintConfig,
            () if matches.get_flag(SAMPLE) => Task::SampleConfig,
            () if matches.get_flag(HEALTH) => Task::Health,
            #[cfg(unix)]
            () if matches.get_flag(APART) => Task::Apart,
            () => Task::Run,
        };
        let value = |key: &'static Key| {
            let values: Vec<String> = matches.get_many(key.name())?.cloned().collect();
            Some((key, values.join(",")))
        };
        Ok(Self {
            dev: matches.get_flag(DEV),
            task,
            file: matches.get_one::<PathBuf>(FILE).cloned(),
            flags: KEYS.iter().filter_map(value).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag of a key. What it takes is told by the key itself, so that a wrong value is told alike
/// wherever it stands.
fn flag(key: &'static Key) -> Arg {
    let default = key.default_value().map(|value| format!(" [default: {value}]"));
    let takes = if key.is_switch() { String::new() } else { format!(" ({})", key.takes()) };
    let arg = Arg::new(key.name())
        .long(key.flag())
        .value_name("VALUE")
        .help_heading("Settings")
        .help(format!("{}{takes}{}", key.about(), default.unwrap_or_default()));
    let arg = if key.name() == "key_file" { arg.alias("key") } else { arg };
    match (key.is_switch(), key.is_list()) {
        (true, _) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        (_, true) => arg.action(ArgAction::Append),
        _ => arg,
    }
}

/// Where a development relay that listens there keeps its key. Makes the folder.
fn dev_key_file(listen: Option<&str>) -> Result<PathBuf, String> {
    let state = STATE_FOLDERS.iter().find_map(|(variable, below)| {
        let folder = std::env::var_os(variable).filter(|folder| !folder.is_empty())?;
        Some(PathBuf::from(folder).join(below))
    });
    let folder = state.ok_or("this machine has no folder for keys: name a file by --key-file")?;
    let folder = folder.join("waylane");
    std::fs::create_dir_all(&folder)
        .map_err(|e| format!("{}: {e}; name another file by --key-file", folder.display()))?;
    Ok(folder.join(dev_key_name(listen)))
}

/// Each port has a key of its own: two relays with one key are one to players.
fn dev_key_name(listen: Option<&str>) -> String {
    let port = listen.and_then(|listen| listen.rsplit(':').next()?.trim().parse::<u16>().ok());
    match port {
        None | Some(0) => "dev-relay.key".to_owned(),
        Some(port) => format!("dev-relay-{port}.key"),
    }
}

/// Where programs keep what should outlive them: the first of these variables that is set, and
/// the folder below it.
const STATE_FOLDERS: [(&str, &str); 3] =
    [("XDG_STATE_HOME", ""), ("LOCALAPPDATA", ""), ("HOME", ".local/state")];

/// What `--dev` stands for; what is written wins over it.
const DEV_VALUES: [(&str, &str); 4] =
    [("mode", "dev"), ("listen", "127.0.0.1:4433"), ("workers", "1"), ("drain_timeout_s", "0")];
const DEV: &str = "dev";
const FILE: &str = "config";
const FILE_VARIABLE: &str = "WAYLANE_CONFIG";
const CHECK: &str = "check-config";
const PRINT: &str = "print-config";
const SAMPLE: &str = "sample-config";
const HEALTH: &str = "health";
/// Has the relay started by a process that ends at once.
#[cfg(unix)]
pub(super) const APART: &str = "apart";

#[cfg(test)]
mod tests {
    use super::dev_key_name;

    #[test]
    fn development_relays_at_different_ports_have_different_keys() {
        assert_eq!(dev_key_name(None), "dev-relay.key");
        assert_eq!(dev_key_name(Some("127.0.0.1:0")), "dev-relay.key");
        assert_eq!(dev_key_name(Some("127.0.0.1:4434")), "dev-relay-4434.key");
        assert_eq!(dev_key_name(Some("127.0.0.1:4434,[::1]:4435")), "dev-relay-4435.key");
    }
}

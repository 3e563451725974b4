//! Settings from several places: a file, then the environment, then flags.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::error::Place;
use super::key::{Given, VARIABLE_PREFIX};
use super::{Config, ConfigError, KEYS, Key};

/// Settings being gathered: what is read later wins over what was read before.
#[derive(Debug)]
pub struct Settings {
    config: Config,
    /// Where each key was given last, in the order of [`KEYS`].
    places: Vec<Option<Place>>,
}

impl Settings {
    /// Nothing but defaults.
    #[must_use]
    pub fn new() -> Self {
        Self { config: Config::defaults(), places: vec![None; KEYS.len()] }
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => self.toml(path, &text),
            Err(error) => {
                let fix = format!("the configuration cannot be read: {error}");
                Err(ConfigError::new("", &fix).at(Place::File(path.into(), 0)))
            }
        }
    }

    /// Reads a TOML text that errors call `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn toml(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line = |at: usize| {
            let before = text.as_bytes().iter().take(at);
            Place::File(path.into(), before.filter(|&&byte| byte == b'\n').count() + 1)
        };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            ConfigError::new("", &format!("not TOML: {}", error.message())).at(line(at))
        })?;
        for (name, value) in table.get_ref() {
            let place = line(name.span().start);
            let Some(number) = position(name.get_ref()) else {
                let fix = match value.get_ref().is_table() {
                    true => "there are no sections: write the keys one below the other".to_owned(),
                    false => unknown(name.get_ref(), Key::name_owned),
                };
                return Err(ConfigError::new(name.get_ref(), &fix).at(place));
            };
            self.set(number, Given::Toml(value.get_ref()), place)?;
        }
        Ok(())
    }

    /// Reads those variables of the environment that begin with `WAYLANE_`, all but those named
    /// in `others`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        others: &[&str],
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            if others.contains(&&*name) {
                continue;
            }
            let place = Place::Variable(name.clone());
            let Some(number) = position(&rest.to_lowercase()).filter(|_| is_upper(rest)) else {
                return Err(ConfigError::new("", &unknown(&name, Key::variable)).at(place));
            };
            self.set(number, Given::Text(&value), place)?;
        }
        Ok(())
    }

    /// Takes the value of a flag.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn flag(&mut self, key: &Key, value: &str) -> Result<(), ConfigError> {
        self.given(key.name, value, Place::Flag(key.flag()))
    }

    /// Takes a value that another flag stands for, unless it was given.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn suggest(&mut self, name: &str, value: &str, flag: &str) -> Result<(), ConfigError> {
        if position(name).is_some_and(|number| self.place(number).is_none()) {
            self.given(name, value, Place::Flag(flag.to_owned()))?;
        }
        Ok(())
    }

    /// Whether `name` was given anywhere.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        position(name).is_some_and(|number| self.place(number).is_some())
    }

    /// All settings together, checked.
    ///
    /// # Errors
    /// [`ConfigError`]: the place, the key and the fix.
    pub fn check(&self) -> Result<Config, ConfigError> {
        if let Some(key) = KEYS.iter().find(|key| key.is_required() && !self.has(key.name)) {
            let fix = format!(
                "it must be given, as a key of the file, as {} or by --{}: {}",
                key.variable(),
                key.flag(),
                key.takes()
            );
            return Err(ConfigError::new(key.name, &fix));
        }
        match self.config.check() {
            Ok(()) => Ok(self.config.clone()),
            Err(error) => Err(match position(&error.key).and_then(|number| self.place(number)) {
                Some(place) => error.at(place.clone()),
                None => error,
            }),
        }
    }

    /// All settings as a file would have them, each with the place it comes from.
    #[must_use]
    pub fn print(&self) -> String {
        let line = |(number, key): (usize, &Key)| {
            let value = (key.show)(&self.config);
            let place = self.place(number).map_or("the default".to_owned(), Place::to_string);
            match value {
                Some(value) => format!("{} = {value}  # {place}\n", key.name),
                None => format!("# {} is not set\n", key.name),
            }
        };
        KEYS.iter().enumerate().map(line).collect()
    }

    fn given(&mut self, name: &str, value: &str, place: Place) -> Result<(), ConfigError> {
        match position(name) {
            Some(number) => self.set(number, Given::Text(value), place),
            None => Err(ConfigError::new(name, &unknown(name, Key::name_owned)).at(place)),
        }
    }

    fn set(&mut self, number: usize, given: Given<'_>, place: Place) -> Result<(), ConfigError> {
        let (Some(key), Some(before)) = (KEYS.get(number), self.places.get_mut(number)) else {
            return Ok(());
        };
        if !(key.set)(&mut self.config, given, &key.range) {
            return Err(ConfigError::new(key.name, &format!("write {}", key.takes())).at(place));
        }
        *before = Some(place);
        Ok(())
    }

    fn place(&self, number: usize) -> Option<&Place> {
        self.places.get(number)?.as_ref()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Key {
    fn name_owned(&self) -> String {
        self.name.to_owned()
    }
}

impl Config {
    /// The settings in a TOML text, checked.
    ///
    /// # Errors
    /// [`ConfigError`]: the line, the key, and what to write instead.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut settings = Settings::new();
        settings.toml(&PathBuf::from("relay.toml"), text)?;
        settings.check()
    }

    /// Takes from `other` what a running relay can change, and names the other keys that differ.
    pub fn reload(&mut self, other: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        for key in KEYS {
            if (key.same)(self, other) {
                continue;
            }
            if key.reloads() {
                (key.copy)(self, other);
            } else {
                kept.push(key.name);
            }
        }
        kept
    }
}

/// The sample file: every key with what it is for, what it takes and its default.
#[must_use]
pub fn sample() -> String {
    let mut out = String::from(HEAD);
    for key in KEYS {
        out.push('\n');
        for line in wrapped(key.about) {
            out.push_str(&format!("# {line}\n"));
        }
        let default = match key.default_value() {
            Some(value) => format!("default {value}"),
            None if key.is_required() => "must be given".to_owned(),
            None => "not set by default".to_owned(),
        };
        let when = if key.reloads() { "; a reload changes it" } else { "" };
        for line in wrapped(&format!("Takes {}; {default}{when}.", key.takes())) {
            out.push_str(&format!("# {line}\n"));
        }
        let mark = if key.is_required() { "" } else { "# " };
        let example = match key.example {
            "" => key.default_value().unwrap_or_default(),
            example => example.to_owned(),
        };
        out.push_str(&format!("{mark}{} = {example}\n", key.name));
    }
    out
}

/// The text in lines that fit a terminal.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < LINE_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn position(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

fn is_upper(text: &str) -> bool {
    !text.contains(|character: char| character.is_ascii_lowercase())
}

/// What to say of a name that there is not: the nearest that there is.
fn unknown(name: &str, as_written: fn(&Key) -> String) -> String {
    let likeness = |key: &Key| {
        let other = as_written(key);
        (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()), other)
    };
    let nearest = KEYS.iter().map(likeness).max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((likeness, nearest)) if likeness > ALIKE => {
            format!("there is no such setting; did you mean {nearest}?")
        }
        _ => "there is no such setting; 'waylane relay --sample-config' prints all".to_owned(),
    }
}

const HEAD: &str = "\
# A relay's settings; 'waylane relay --sample-config' prints this page.
# What is commented out shows the default, or an example where there is none. Each key is also
# a variable of the environment (burst_ms: WAYLANE_BURST_MS) and a flag (--burst-ms); flags win
# over variables, and these over the file.
";
const LINE_MAX: usize = 96;
const ALIKE: f64 = 0.85;

//! What is wrong with the settings, where, and what to write instead.

use core::fmt;
use std::path::PathBuf;

/// Why settings do not serve: the operator's to mend. It names the place, the key and the fix.
#[derive(Debug)]
pub struct ConfigError {
    pub(super) place: Option<Place>,
    pub(super) key: String,
    pub(super) fix: String,
}

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a line of a file; in the file as a whole if it is 0.
    File(PathBuf, usize),
    /// In this variable of the environment.
    Variable(String),
    /// By a flag of the command line.
    Flag(String),
}

impl ConfigError {
    /// The value of `key` does not serve; `fix` says what to do.
    #[must_use]
    pub fn new(key: &str, fix: &str) -> Self {
        Self { place: None, key: key.to_owned(), fix: fix.to_owned() }
    }

    /// The key that is wrong; empty if it is the file as a whole.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        match &*self.key {
            "" => f.write_str(&self.fix),
            key => write!(f, "{key}: {}", self.fix),
        }
    }
}

impl core::error::Error for ConfigError {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

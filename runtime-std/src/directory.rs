//! A directory kept in a file, read again when it changes.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use waylane_core::directory::{RelayEntry, RelayEntryError};
use waylane_core::endpoint::{AddRelayError, SetDirectoryError};
use waylane_core::fleet::SignedDirectory;
use waylane_core::time::Instant;

/// A directory file cannot be used. What was read from it before stays in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DirectoryFileError {
    /// The system does not give it.
    Unreadable(ErrorKind),
    /// A line, counted from 1, is no directory entry.
    BadEntry {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        error: RelayEntryError,
    },
    /// It names no relay.
    Empty,
    /// A relay of it cannot be added.
    Relay(AddRelayError),
    /// It is a signed list, and not taken.
    Signed(SetDirectoryError),
}

impl fmt::Display for DirectoryFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(kind) => write!(f, "the directory file cannot be read: {kind}"),
            Self::BadEntry { line, error } => {
                write!(f, "the directory file, line {line}: {error}")
            }
            Self::Empty => f.write_str(
                "the directory file names no relay; write one entry a line, KEY@ADDRESS[#REGION]",
            ),
            Self::Relay(error) => write!(f, "a relay of the directory file: {error}"),
            Self::Signed(error) => write!(f, "the directory file: {error}"),
        }
    }
}

impl core::error::Error for DirectoryFileError {}

/// The file and what was seen of it last.
pub(crate) struct DirectoryFile {
    path: PathBuf,
    /// When it was written and how long it was.
    seen: Option<(Option<SystemTime>, u64)>,
    next_look: Instant,
    /// What could not be used, until it is told.
    pub(crate) error: Option<DirectoryFileError>,
}

impl DirectoryFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`DirectoryFileError`].
    pub(crate) fn open(
        path: PathBuf,
        now: Instant,
    ) -> Result<(Self, Contents), DirectoryFileError> {
        let seen = look(&path);
        let contents = read(&path)?;
        Ok((Self { path, seen, next_look: now + PAUSE, error: None }, contents))
    }

    /// What the file holds, if it is time to look and it has changed.
    pub(crate) fn changed(&mut self, now: Instant) -> Option<Contents> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + PAUSE;
        let seen = look(&self.path);
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        match read(&self.path) {
            Ok(contents) => Some(contents),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

fn look(path: &Path) -> Option<(Option<SystemTime>, u64)> {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok(), data.len()))
}

/// What a directory file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// Entries, one a line.
    Entries(Vec<RelayEntry>),
    /// A signed list in text form.
    Signed(String),
}

/// A signed list, or one entry a line; empty lines and those that begin with `#` do not count.
fn read(path: &Path) -> Result<Contents, DirectoryFileError> {
    let text =
        fs::read_to_string(path).map_err(|error| DirectoryFileError::Unreadable(error.kind()))?;
    if SignedDirectory::is_text(&text) {
        return Ok(Contents::Signed(text));
    }
    let entries = text
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, text)| {
            text.parse().map_err(|error| DirectoryFileError::BadEntry { line, error })
        })
        .collect::<Result<Vec<RelayEntry>, _>>()?;
    if entries.is_empty() { Err(DirectoryFileError::Empty) } else { Ok(Contents::Entries(entries)) }
}

/// The file is looked at this often.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE@127.0.0.1:4433#here";

    #[test]
    fn a_file_is_read_again_when_it_changes_and_kept_when_it_is_broken() {
        let path = std::env::temp_dir().join(format!("waylane-directory-{}", std::process::id()));
        let at = Instant::from_millis;
        let write = |text: &str| fs::write(&path, text).unwrap();
        assert!(matches!(
            DirectoryFile::open(path.clone(), at(0)),
            Err(DirectoryFileError::Unreadable(ErrorKind::NotFound))
        ));
        write("# nothing\n\n");
        assert!(matches!(DirectoryFile::open(path.clone(), at(0)), Err(DirectoryFileError::Empty)));
        write(&format!("# ours\n{ENTRY}\n"));
        let (mut file, contents) = DirectoryFile::open(path.clone(), at(0)).unwrap();
        assert_eq!(contents, Contents::Entries(vec![ENTRY.parse().unwrap()]));
        assert_eq!(file.changed(at(5000)), None, "the same as before");
        let other = ENTRY.replace("4433", "44330");
        write(&format!("{ENTRY}\n{other}\n"));
        assert_eq!(file.changed(at(5500)), None, "looked at a moment ago");
        let both = [ENTRY, &other].map(|entry| entry.parse().unwrap()).to_vec();
        assert_eq!(file.changed(at(6000)), Some(Contents::Entries(both)));
        let list = "d2F5bGFuZSBkaXJlY3RvcnkAAQE".to_owned();
        write(&list);
        assert_eq!(file.changed(at(7000)), Some(Contents::Signed(list)));
        write(&format!("{ENTRY}\nrubbish\n"));
        assert_eq!(file.changed(at(8000)), None);
        assert!(matches!(
            file.error.take(),
            Some(DirectoryFileError::BadEntry { line: 2, error: RelayEntryError::MissingAt })
        ));
        fs::remove_file(&path).unwrap();
        assert_eq!(file.changed(at(9000)), None);
        assert!(matches!(file.error.take(), Some(DirectoryFileError::Unreadable(_))));
    }
}

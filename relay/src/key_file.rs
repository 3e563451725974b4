//! The relay's static key on disk: one line of base64url, readable by its owner only.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use waylane_core::crypto::{Crypto, Secret};
use waylane_core::wire::base64url::{self, Base64};
use waylane_crypto::ring::Ring;

/// Makes a new key and writes it to `path`, which must not exist yet.
///
/// # Errors
/// [`KeyFileError`].
pub fn generate(path: &Path) -> Result<Secret, KeyFileError> {
    let mut secret = Secret::default();
    Ring::new().random(&mut secret.0);
    let mut file = create(path).map_err(|error| KeyFileError::io(path, error))?;
    let text = format!("{}\n", Base64(&secret.0));
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| KeyFileError::io(path, error))?;
    Ok(secret)
}

/// Reads the key in `path`.
///
/// # Errors
/// [`KeyFileError`].
pub fn load(path: &Path) -> Result<Secret, KeyFileError> {
    let mut file = File::open(path).map_err(|error| KeyFileError::io(path, error))?;
    warn_if_open_to_others(path, &file);
    let mut text = String::new();
    let read = (&mut file).take(LEN_MAX).read_to_string(&mut text);
    if let Err(error) = read {
        let is_text = error.kind() != io::ErrorKind::InvalidData;
        return Err(if is_text {
            KeyFileError::io(path, error)
        } else {
            KeyFileError::Malformed(path.into())
        });
    }
    let mut secret = Secret::default();
    match base64url::decode(text.trim().as_bytes(), &mut secret.0) {
        Ok(32) => Ok(secret),
        _ => Err(KeyFileError::Malformed(path.into())),
    }
}

/// Reads the key in `path`, or makes one if there is no such file.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_or_generate(path: &Path) -> Result<Secret, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            generate(path)
        }
        other => other,
    }
}

/// Why there is no key.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not a key.
    Malformed(PathBuf),
}

impl KeyFileError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "key file {}: {error}", path.display()),
            Self::Malformed(path) => write!(
                f,
                "key file {}: not a key (43 characters of base64url): name another file, or move \
                 this one away to have a new key made",
                path.display()
            ),
        }
    }
}

impl core::error::Error for KeyFileError {}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt as _;
    if file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others can read the key file: chmod 600 it");
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &Path, _: &File) {}

/// More than a key and some white space.
const LEN_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        let made = load_or_generate(&path).unwrap();
        assert_eq!(load_or_generate(&path).unwrap().0, made.0);
        assert_eq!(load(&path).unwrap().0, made.0);
        assert!(matches!(generate(&path), Err(KeyFileError::Io { .. })));
        assert_eq!(load(&path).unwrap().0, made.0);

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        let key = "A".repeat(43);
        for text in ["", "hello", &key[1..], &format!("{key}A"), "\u{fffd}\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(load_or_generate(&path), Err(KeyFileError::Malformed(_))), "{text}");
        }
        std::fs::write(&path, [0xff; 43]).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Malformed(_))));
        std::fs::write(&path, format!("  {key}\r\n")).unwrap();
        assert_eq!(load(&path).unwrap().0, [0; 32]);
    }
}

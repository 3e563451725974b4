//! The signed list of relays that clients are given, on disk.

use std::path::Path;

use waylane_core::fleet::{SignedDirectory, SignedDirectoryError};
use waylane_core::id::PublicKey;

use crate::config::ConfigError;

/// A list as its file holds it, in binary form, and of the right layout. Who signed it is for
/// clients to judge: a relay knows no fleet's key.
pub(crate) struct File(Box<[u8]>);

/// Reads the list in `path`, in either form.
///
/// # Errors
/// [`ConfigError`] of `directory_file`: what to do.
pub(crate) fn load(path: &Path) -> Result<File, ConfigError> {
    let wrong =
        |fix: String| ConfigError::new("directory_file", &format!("{}: {fix}", path.display()));
    let given = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut binary = vec![0; SignedDirectory::LEN_MAX];
    let check = |binary: &mut Vec<u8>| -> Result<(), SignedDirectoryError> {
        let len = SignedDirectory::to_binary(&given, binary)?;
        binary.truncate(len);
        SignedDirectory::parse(binary).map(drop)
    };
    check(&mut binary).map_err(|error| wrong(error.to_string()))?;
    Ok(File(binary.into_boxed_slice()))
}

impl File {
    /// The list.
    pub(crate) fn list(&self) -> Option<SignedDirectory<'_>> {
        SignedDirectory::parse(&self.0).ok()
    }

    /// Tells the log what is served from now on, and if that sends clients away from here.
    pub(crate) fn tell(&self, me: &PublicKey) {
        let Some(list) = self.list() else { return };
        tracing::info!(sequence = list.sequence(), relays = list.len(), "clients are given a list");
        if !list.entries().any(|entry| entry.public_key() == me) {
            tracing::warn!("the list does not name this relay: who takes it leaves");
        }
    }
}

#[cfg(test)]
mod tests {
    use waylane_core::crypto::Secret;
    use waylane_crypto::FleetSigner;

    use super::*;

    #[test]
    fn either_form_is_read_and_what_is_no_list_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entry = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE@192.0.2.1:4433".parse().unwrap();
        let mut out = [0; 512];
        let signer = FleetSigner::from_secret(&Secret([1; 32]));
        let list = signer.sign(5, &[entry], &mut out).unwrap();
        for form in [list.as_bytes().to_vec(), format!("{list}\n").into_bytes()] {
            std::fs::write(file.path(), form).unwrap();
            assert_eq!(load(file.path()).unwrap().list(), Some(list));
        }
        for (text, told) in [
            (String::new(), "cut short"),
            ("KEY@ADDRESS".to_owned(), "waylane directory sign"),
            (list.to_string()[..100].to_owned(), "cut short"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = load(file.path()).map(drop).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("directory_file: ") && text.contains(told), "{text}");
        }
        let error = load(Path::new("/nowhere/list")).map(drop).unwrap_err();
        assert_eq!(error.key(), "directory_file");
    }
}

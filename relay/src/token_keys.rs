//! The keys that tokens are signed with, on disk: one public key a line.

use std::path::Path;

use waylane_core::token::{TokenKey, TokenKeys};

use crate::config::ConfigError;

/// Reads the keys in `path`: one a line as `waylane token keygen` prints it; lines that are empty
/// or begin with `#` say nothing.
///
/// # Errors
/// [`ConfigError`] of `token_keys`: which line, and what to do.
pub fn load(path: &Path) -> Result<TokenKeys, ConfigError> {
    let wrong = |fix: &str| ConfigError::new("token_keys", &format!("{}: {fix}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys.push(line.parse::<TokenKey>().map_err(|_| {
            wrong(&format!(
                "line {} is no public key: write the 43 characters that 'waylane token keygen' \
                 prints",
                number + 1
            ))
        })?);
    }
    if keys.is_empty() {
        return Err(wrong("write at least one public key, a line each"));
    }
    TokenKeys::new(&keys).ok_or_else(|| wrong("name at most 16 keys: take old ones out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TokenKeys, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_a_line() {
        let [one, other] = [[1; 32], [2; 32]].map(TokenKey);
        let keys = read(&format!("# this month's\n{one}\n\n  {other}  \n")).unwrap();
        assert_eq!(keys.as_slice(), [one, other]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let key = TokenKey([1; 32]);
        for (text, told) in [
            ("", "at least one"),
            ("# none", "at least one"),
            (&format!("{key}\nkey"), "line 2"),
            (&format!("{key}A"), "line 1"),
            (&format!("{key}\n").repeat(17), "at most 16"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("token_keys: ") && error.contains(told), "{error}");
        }
        let error = load(Path::new("/nowhere/keys")).unwrap_err();
        assert_eq!(error.key(), "token_keys");
    }
}

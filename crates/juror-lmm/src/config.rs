//! Reading of `config.json`: errors name the key, values are checked before a model is built.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Parses JSON; an error names the key by its dotted path.
///
/// # Errors
/// [`Error::Config`].
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Config {
        key: key_at(text, e.line(), e.column()),
        message: e.to_string(),
        path: path.to_owned(),
    })
}

/// The dotted path of the object key at a place of a JSON text (both counted from 1); empty at the top.
fn key_at(text: &str, line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = (start + column).min(text.len());
    let mut path: Vec<String> = Vec::new(); // one entry per open brace or bracket
    let mut string: Option<Vec<u8>> = None;
    let mut last_string = String::new();
    let mut escaped = false;
    for &byte in &text.as_bytes()[..end] {
        if let Some(open) = &mut string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    last_string = String::from_utf8_lossy(&string.take().unwrap_or_default()).into_owned()
                }
                _ => open.push(byte),
            }
            continue;
        }
        match byte {
            b'"' => string = Some(Vec::new()),
            b'{' | b'[' => path.push(String::new()),
            b'}' | b']' if path.len() > 1 => {
                path.pop();
            }
            b':' => {
                if let Some(key) = path.last_mut() {
                    key.clone_from(&last_string);
                }
            }
            _ => (),
        }
    }
    path.retain(|key| !key.is_empty());
    path.join(".")
}

/// Reads and parses a JSON file.
///
/// # Errors
/// [`Error::Io`] or [`Error::Config`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io { source, path: path.to_owned() })?;
    parse(&text, path)
}

/// Fails with the key, its value and what is allowed unless `ok`.
///
/// # Errors
/// [`Error::ConfigValue`].
pub fn check(ok: bool, key: &str, value: impl ToString, allowed: &str) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::ConfigValue { key: key.to_owned(), value: value.to_string(), allowed: allowed.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Outer {
        #[expect(dead_code)]
        inner: Inner,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        #[expect(dead_code)]
        width: usize,
    }

    fn key(text: &str) -> String {
        match parse::<Outer>(text, Path::new("config.json")) {
            Err(Error::Config { key, message, .. }) => format!("{key}: {message}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn errors_name_the_key() {
        let wrong = key("{\"a\": [1, {\"b\": 2}],\n \"inner\": {\"depth\": 1, \"width\": \"wide\"}}");
        assert!(wrong.starts_with("inner.width: invalid type"), "{wrong}");
        let missing = key("{\"inner\": {\"depth\": 1}}");
        assert!(missing.contains("missing field `width`"), "{missing}");
        assert!(key("{\"inner\": ").contains("EOF"), "{}", key("{\"inner\": "));
    }
}

//! Reading of `config.json`: errors name the key, values are checked before a model is built.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

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

/// Keys that are sizes, and the largest value of each that makes sense: a configuration that lies must not make us count
/// layers until the memory is gone.
const SIZES: [(&str, u64); 15] = [
    ("num_hidden_layers", 1000),
    ("depth", 1000),
    ("hidden_size", 1 << 20),
    ("intermediate_size", 1 << 20),
    ("out_hidden_size", 1 << 20),
    ("num_attention_heads", 1 << 16),
    ("num_key_value_heads", 1 << 16),
    ("num_heads", 1 << 16),
    ("head_dim", 1 << 16),
    ("vocab_size", 1 << 24),
    ("image_size", 1 << 14),
    ("patch_size", 1 << 10),
    ("window_size", 1 << 14),
    ("spatial_merge_size", 1 << 10),
    ("num_position_embeddings", 1 << 24),
];

/// Fails unless every size of a `config.json`, in whatever section, is positive and sensible.
///
/// # Errors
/// [`Error::ConfigValue`] with the dotted path of the key.
pub fn check_sizes(config: &Value) -> Result<()> {
    fn walk(value: &Value, path: &str) -> Result<()> {
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let bound = SIZES.iter().find(|(name, _)| name == key).map(|(_, most)| *most);
            let numbers = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for number in numbers.iter().filter(|number| bound.is_some() && number.is_number()) {
                let most = bound.unwrap_or(u64::MAX);
                let fits = number.as_u64().is_some_and(|size| (1..=most).contains(&size));
                check(fits, &path, number, &format!("a whole number from 1 to {most}"))?;
            }
            walk(value, &path)?;
        }
        Ok(())
    }
    walk(config, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_make_no_sense_are_told_by_their_path() {
        let wrong = |config: Value| check_sizes(&config).unwrap_err().to_string();
        let layers = wrong(serde_json::json!({ "text_config": { "num_hidden_layers": 1_000_000_000u64 } }));
        assert!(layers.contains("`text_config.num_hidden_layers` is 1000000000"), "{layers}");
        assert!(wrong(serde_json::json!({ "vision_config": { "patch_size": 0 } })).contains("patch_size"));
        assert!(
            wrong(serde_json::json!({ "vision_config": { "image_size": [448, -1] } })).contains("image_size")
        );
        assert!(wrong(serde_json::json!({ "hidden_size": 3584.5 })).contains("3584.5"));
        check_sizes(&serde_json::json!({ "hidden_size": 3584, "head_dim": null, "image_size": [448, 448] }))
            .unwrap();
    }

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

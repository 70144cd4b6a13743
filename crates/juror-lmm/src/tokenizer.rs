//! Tokenizers of checkpoints: `tokenizer.json`, or the older pair `vocab.json` and `merges.txt` in the pipeline of Qwen2.
//!
//! Byte-level BPE over NFC text; nothing is put in front or behind. Special tokens in a text are recognised as such.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::error::{Error, Result};

/// How Qwen2 cuts text before BPE: contractions, words with one leading character, single digits, punctuation, spaces.
const QWEN2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("entries", &self.len()).finish()
    }
}

#[derive(Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, Added>,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

fn broken(e: impl std::fmt::Display, path: &Path) -> Error {
    Error::Tokenizer(format!("{e}: {}", path.display()))
}

impl Tokenizer {
    /// Opens the tokenizer of a checkpoint folder.
    ///
    /// # Errors
    /// No or broken files.
    pub fn open(folder: &Path) -> Result<Self> {
        let whole = folder.join("tokenizer.json");
        if whole.exists() {
            return Ok(Self {
                inner: tokenizers::Tokenizer::from_file(&whole).map_err(|e| broken(e, &whole))?,
            });
        }
        Self::open_pair(folder)
    }

    /// Opens `vocab.json`, `merges.txt` and the added tokens of `tokenizer_config.json` (or `added_tokens.json`).
    ///
    /// # Errors
    /// No or broken files.
    pub fn open_pair(folder: &Path) -> Result<Self> {
        let (vocab, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
        for path in [&vocab, &merges] {
            if !path.exists() {
                return Err(broken(
                    "neither tokenizer.json nor the pair vocab.json, merges.txt is there",
                    folder,
                ));
            }
        }
        let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
            .build()
            .map_err(|e| broken(e, &vocab))?;
        let mut inner = tokenizers::Tokenizer::new(model);
        let split =
            Split::new(SplitPattern::Regex(QWEN2_SPLIT.into()), SplitDelimiterBehavior::Isolated, false)
                .map_err(|e| broken(e, &vocab))?;
        inner.with_normalizer(Some(NFC));
        inner.with_pre_tokenizer(Some(Sequence::new(vec![
            split.into(),
            ByteLevel::new(false, true, false).into(),
        ])));
        inner.with_decoder(Some(ByteLevelDecoder::default()));
        for (id, token) in added_tokens(folder)? {
            // Ids follow the order of addition, so a gap would shift all that come after it.
            inner.add_tokens(std::slice::from_ref(&token));
            if inner.token_to_id(&token.content) != Some(id) {
                return Err(broken(
                    format!("added token {} does not get its id {id}", token.content),
                    folder,
                ));
            }
        }
        Ok(Self { inner })
    }

    /// Ids of a text.
    ///
    /// # Errors
    /// A text the model cannot express.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode(text, false).map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids; special tokens are dropped unless `with_special`.
    ///
    /// # Errors
    /// None known; the library may refuse.
    pub fn decode(&self, ids: &[u32], with_special: bool) -> Result<String> {
        self.inner.decode(ids, !with_special).map_err(|e| Error::Tokenizer(e.to_string()))
    }

    /// The entry of an id in the byte alphabet.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Fails where an embedding table of `rows` rows has none for the words of this tokenizer or for the tokens `needed`.
    ///
    /// # Errors
    /// The first token without a row.
    pub fn check_rows(&self, rows: usize, needed: &[u32]) -> Result<()> {
        let last_word = self.inner.get_vocab_size(false).saturating_sub(1) as u32;
        match needed.iter().copied().chain([last_word]).find(|&id| id as usize >= rows) {
            None => Ok(()),
            Some(id) => Err(Error::Tokenizer(format!(
                "token {} has the id {id}, and the embedding table ends at {}; the tokenizer does not belong to this model",
                self.token(id).unwrap_or_default(),
                rows.saturating_sub(1)
            ))),
        }
    }

    /// The id of a token that a model relies on.
    ///
    /// # Errors
    /// No such token, by name.
    pub fn id(&self, token: &str) -> Result<u32> {
        self.inner.token_to_id(token).ok_or_else(|| {
            Error::Tokenizer(format!("no token {token}; the tokenizer does not belong to this model"))
        })
    }

    /// The id of a word that is one token (levels, read from next-token probabilities).
    ///
    /// # Errors
    /// A word of several tokens.
    pub fn word(&self, word: &str) -> Result<u32> {
        match self.encode(word)?.as_slice() {
            [id] => Ok(*id),
            ids => Err(Error::Tokenizer(format!("{word:?} is {} tokens instead of 1", ids.len()))),
        }
    }

    /// Entries, added ones included.
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes ids one by one, for streaming to a terminal.
    pub fn stream(&self) -> Stream<'_> {
        Stream { tokenizer: self, ids: Vec::new(), shown: 0 }
    }
}

/// A text that grows token by token; characters whose bytes are not complete are held back.
#[derive(Debug)]
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    shown: usize,
}

impl Stream<'_> {
    /// What the next token adds to the text; empty while a character is incomplete.
    ///
    /// # Errors
    /// Those of [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids, false)?;
        if text.ends_with('\u{FFFD}') || text.len() <= self.shown {
            return Ok(String::new());
        }
        let new = text.get(self.shown..).unwrap_or_default().to_owned();
        self.shown = text.len();
        Ok(new)
    }
}

/// Added tokens by id.
fn added_tokens(folder: &Path) -> Result<BTreeMap<u32, AddedToken>> {
    let config = folder.join("tokenizer_config.json");
    if config.exists() {
        let parsed: TokenizerConfig = crate::config::read(&config)?;
        if !parsed.added_tokens_decoder.is_empty() {
            return parsed
                .added_tokens_decoder
                .into_iter()
                .map(|(id, added)| {
                    let id = id
                        .parse()
                        .map_err(|_| broken(format!("added token id {id:?} is no number"), &config))?;
                    let token = AddedToken::from(added.content, added.special).normalized(added.normalized);
                    Ok((id, token.lstrip(added.lstrip).rstrip(added.rstrip)))
                })
                .collect();
        }
    }
    let plain = folder.join("added_tokens.json");
    if !plain.exists() {
        return Ok(BTreeMap::new());
    }
    let tokens: BTreeMap<String, u32> = crate::config::read(&plain)?;
    Ok(tokens
        .into_iter()
        .map(|(content, id)| (id, AddedToken::from(content, true).normalized(false)))
        .collect())
}

//! A tokenizer of byte-pair encoding from end to end: tokens that stand for themselves are cut out of the text, the rest is normalized and split
//! into pieces, and each piece is encoded. Words that come again are remembered, so that most of a text costs one look-up for each word.

use super::bpe::{Bpe, Scratch};
use super::pieces::Splitter;
use aho_corasick::{AhoCorasick, MatchKind};
use hashbrown::{DefaultHashBuilder, HashTable};
use regex_automata::meta::Cache;
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use unicode_normalization_alignments::{UnicodeNormalization, is_nfc};

/// The mark of a space in vocabularies of SentencePiece.
pub(super) const MARK: char = '\u{2581}';
/// Longer pieces are not remembered.
const LONGEST_REMEMBERED: usize = 64;
/// When so many words are remembered, all are forgotten. Together with their tokens they take some megabytes.
const MOST_REMEMBERED: usize = 1 << 16;

/// What is done to a text before it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalization {
    /// Nothing.
    None,
    /// Unicode's composed form, NFC.
    Composed,
    /// Spaces become marks. With `prefix`, one more mark is set before a text.
    Marks {
        /// Whether a mark is set before a text.
        prefix: bool,
    },
}

/// How tokens become a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoding {
    /// Their bytes are joined.
    Bytes,
    /// The same, and one space at the beginning is left out.
    WithoutFirstSpace,
}

/// A token that stands for a text wherever it occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// The text.
    pub content: String,
    /// Its id.
    pub id: u32,
    /// Where it is looked for.
    pub place: Place,
}

/// Where an added token is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the text as it is.
    Verbatim,
    /// In the normalized text, after its own content has been normalized too.
    Normalized,
    /// In the normalized text, as it is spelled.
    InNormalized,
}

/// Parts of which a tokenizer is put together.
pub(super) struct Parts {
    pub bpe: Bpe,
    pub normalization: Normalization,
    /// The patterns that split a text one after the other.
    pub splitters: Vec<Splitter>,
    pub added: Vec<Added>,
    pub decoding: Decoding,
    /// The text's bytes for each id.
    pub decoded: Vec<Option<Box<[u8]>>>,
    /// How many tokens are put around a text where special tokens are asked for.
    pub around: u32,
}

/// A tokenizer of byte-pair encoding.
pub(super) struct Encoder {
    bpe: Bpe,
    normalization: Normalization,
    splitters: Vec<Splitter>,
    /// Tokens that are looked for in the text as it is.
    verbatim: Option<Finder>,
    /// Tokens that are looked for in the normalized text.
    normalized: Option<Finder>,
    decoding: Decoding,
    decoded: Vec<Option<Box<[u8]>>>,
    around: u32,
    /// The characters before a mark within tokens. Behind any other character no merge reaches across to a mark, so that the mark begins a piece
    /// of its own. `None` where spaces are no marks.
    joined: Option<Vec<char>>,
    /// The size of the vocabulary, with the added tokens.
    size: u32,
    /// What encoding keeps in memory, once for each thread that has encoded at the same time as others.
    memories: Mutex<Vec<Memory>>,
}

/// What gets the tokens of a text, a few at a time.
type Take<'a> = &'a mut dyn FnMut(&[u32]);

struct Finder {
    finder: AhoCorasick,
    ids: Vec<u32>,
}

/// Buffers, and words with their tokens.
struct Memory {
    scratch: Scratch,
    /// What each splitter keeps.
    caches: Vec<Option<Cache>>,
    words: Words,
}

impl Finder {
    /// `None` where there is nothing to find.
    fn of(tokens: &[(Cow<'_, str>, u32)]) -> Result<Option<Finder>, aho_corasick::BuildError> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let contents = tokens.iter().map(|(content, _)| content.as_bytes());
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(contents)?;
        Ok(Some(Finder { finder, ids: tokens.iter().map(|(_, id)| *id).collect() }))
    }
}

impl Encoder {
    /// Puts a tokenizer together. `None` if its added tokens cannot be looked for.
    pub fn new(parts: Parts) -> Option<Encoder> {
        let Parts { bpe, normalization, splitters, added, decoding, decoded, around } = parts;
        let mut verbatim = Vec::new();
        let mut normalized = Vec::new();
        for token in &added {
            match token.place {
                Place::Verbatim => verbatim.push((Cow::Borrowed(token.content.as_str()), token.id)),
                Place::Normalized => normalized.push((normalization.apply(&token.content), token.id)),
                Place::InNormalized => normalized.push((Cow::Borrowed(token.content.as_str()), token.id)),
            }
        }
        let finders = (Finder::of(&verbatim).ok()?, Finder::of(&normalized).ok()?);
        let tokens = bpe.tokens();
        let joined = matches!(normalization, Normalization::Marks { .. }).then(|| {
            let texts = (0..tokens.end()).filter_map(|id| std::str::from_utf8(tokens.get(id)?).ok());
            let mut joined: Vec<char> = texts.flat_map(before_marks).collect();
            joined.sort_unstable();
            joined.dedup();
            joined
        });
        let more = added.iter().filter(|token| tokens.get(token.id).is_none()).count();
        let size = u32::try_from(tokens.len() + more).ok()?;
        Some(Encoder {
            bpe,
            normalization,
            splitters,
            verbatim: finders.0,
            normalized: finders.1,
            decoding,
            decoded,
            around,
            joined,
            size,
            memories: Mutex::default(),
        })
    }

    /// The number of tokens of `text`.
    pub fn count(&self, text: &str) -> usize {
        let mut count = 0;
        self.each(text, &mut |ids| count += ids.len());
        count
    }

    /// The tokens of `text`.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut all = Vec::with_capacity(text.len() / 4);
        self.each(text, &mut |ids| all.extend_from_slice(ids));
        all
    }

    /// The text of tokens; `None` if one of them is unknown, or if they are no text.
    pub fn decode(&self, ids: &[u32]) -> Option<String> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for id in ids {
            bytes.extend_from_slice(self.decoded.get(*id as usize)?.as_ref()?);
        }
        if self.decoding == Decoding::WithoutFirstSpace && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        String::from_utf8(bytes).ok()
    }

    /// How many tokens are put around a text where special tokens are asked for.
    pub fn around(&self) -> u32 {
        self.around
    }

    /// The size of the vocabulary, with the added tokens.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Whether a few texts of many kinds survive encoding and decoding, as a vocabulary that was understood lets them.
    pub fn is_sound(&self) -> bool {
        const SAMPLE: &str = "Hello, world! It's 1234 o'clock.\n\n  def f(x):\r\n\treturn x  # naïve Straße Привет γειά \
            שלום مرحبا नमस्ते 你好,世界 こんにちは 안녕 สวัสดี 😀👩‍👩‍👧 \u{fffd}\u{10ffff} ";
        let expected: String = match self.normalization {
            Normalization::Composed => composed(SAMPLE),
            _ => SAMPLE.to_owned(),
        };
        // A mark that is set before a text comes back as a space.
        let letters = |text: &str| text.chars().filter(|character| *character != ' ').collect::<String>();
        self.decode(&self.encode(SAMPLE)).is_some_and(|back| letters(&back) == letters(&expected))
    }

    fn each(&self, text: &str, take: Take<'_>) {
        let memories = || self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = memories().pop();
        let mut memory = kept.unwrap_or_else(|| Memory::of(&self.splitters));
        self.each_with(text, &mut memory, take);
        memories().push(memory);
    }

    fn each_with(&self, text: &str, memory: &mut Memory, take: Take<'_>) {
        cut(text, self.verbatim.as_ref(), take, &mut |text, take| {
            let text = self.normalization.apply(text);
            cut(&text, self.normalized.as_ref(), take, &mut |text, take| self.split(text, 0, memory, take));
        });
    }

    /// Splits a text by the splitters from `step` on, and encodes the pieces.
    fn split(&self, text: &str, step: usize, memory: &mut Memory, take: Take<'_>) {
        let Some(splitter) = self.splitters.get(step) else {
            return match &self.joined {
                Some(joined) => self.words_of_marks(text, joined, memory, take),
                None => take(memory.encode(&self.bpe, text)),
            };
        };
        // Later steps use later caches only.
        let mut cache = memory.caches[step].take().unwrap_or_else(|| splitter.cache());
        splitter.split(text, &mut cache, |piece| self.split(piece, step + 1, memory, take));
        memory.caches[step] = Some(cache);
    }

    /// Cuts before each mark that no merge joins with the character before it.
    fn words_of_marks(&self, text: &str, joined: &[char], memory: &mut Memory, take: Take<'_>) {
        let mut start = 0;
        for (at, _) in text.match_indices(MARK) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|before| before != MARK && joined.binary_search(&before).is_err()) {
                take(memory.encode(&self.bpe, &text[start..at]));
                start = at;
            }
        }
        if start < text.len() {
            take(memory.encode(&self.bpe, &text[start..]));
        }
    }
}

/// The characters before marks within a text, other than marks.
fn before_marks(text: &str) -> impl Iterator<Item = char> + '_ {
    let marks = text.match_indices(MARK);
    marks.filter_map(|(at, _)| text[..at].chars().next_back()).filter(|before| *before != MARK)
}

/// Hands on the tokens that stand for themselves in `text`, and what lies between them.
fn cut(text: &str, finder: Option<&Finder>, take: Take<'_>, between: &mut dyn FnMut(&str, Take<'_>)) {
    let mut last = 0;
    for found in finder.iter().flat_map(|finder| finder.finder.find_iter(text)) {
        if found.start() > last {
            between(&text[last..found.start()], take);
        }
        if let Some(finder) = finder {
            take(&[finder.ids[found.pattern().as_usize()]]);
        }
        last = found.end();
    }
    if last < text.len() {
        between(&text[last..], take);
    }
}

/// Unicode's composed form of a text, by the tables that the reference implementation has.
fn composed(text: &str) -> String {
    text.nfc().map(|(character, _)| character).collect()
}

impl Normalization {
    fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Normalization::None => Cow::Borrowed(text),
            Normalization::Composed if text.is_ascii() || is_nfc(text) => Cow::Borrowed(text),
            Normalization::Composed => Cow::Owned(composed(text)),
            Normalization::Marks { prefix } => {
                let mut marked = String::with_capacity(text.len() * 3 / 2 + 3);
                if prefix && !text.is_empty() {
                    marked.push(MARK);
                }
                for (index, part) in text.split(' ').enumerate() {
                    if index > 0 {
                        marked.push(MARK);
                    }
                    marked.push_str(part);
                }
                Cow::Owned(marked)
            }
        }
    }
}

impl Memory {
    fn of(splitters: &[Splitter]) -> Memory {
        Memory {
            scratch: Scratch::default(),
            caches: splitters.iter().map(|splitter| Some(splitter.cache())).collect(),
            words: Words::default(),
        }
    }

    /// The tokens of a piece.
    fn encode(&mut self, bpe: &Bpe, piece: &str) -> &[u32] {
        if piece.len() > LONGEST_REMEMBERED {
            return bpe.encode(piece, &mut self.scratch);
        }
        let hash = self.words.hasher.hash_one(piece.as_bytes());
        match self.words.find(piece.as_bytes(), hash) {
            Some(word) => self.words.tokens(word),
            None => {
                let ids = bpe.encode(piece, &mut self.scratch);
                self.words.remember(piece.as_bytes(), hash, ids);
                ids
            }
        }
    }
}

/// Words and their tokens.
#[derive(Default)]
struct Words {
    bytes: Vec<u8>,
    ids: Vec<u32>,
    words: HashTable<Word>,
    hasher: DefaultHashBuilder,
}

/// Where a word's bytes and tokens are.
#[derive(Clone, Copy)]
struct Word {
    bytes: u32,
    ids: u32,
    length: u8,
    count: u8,
}

impl Words {
    fn find(&self, piece: &[u8], hash: u64) -> Option<Word> {
        self.words.find(hash, |word| self.content(*word) == piece).copied()
    }

    fn content(&self, word: Word) -> &[u8] {
        &self.bytes[word.bytes as usize..][..usize::from(word.length)]
    }

    fn tokens(&self, word: Word) -> &[u32] {
        &self.ids[word.ids as usize..][..usize::from(word.count)]
    }

    /// A piece of at most [`LONGEST_REMEMBERED`] bytes has no more tokens than bytes, so lengths fit.
    fn remember(&mut self, piece: &[u8], hash: u64, ids: &[u32]) {
        if self.words.len() >= MOST_REMEMBERED {
            self.words.clear();
            self.bytes.clear();
            self.ids.clear();
        }
        let word = Word {
            bytes: self.bytes.len() as u32,
            ids: self.ids.len() as u32,
            length: piece.len() as u8,
            count: ids.len() as u8,
        };
        self.bytes.extend_from_slice(piece);
        self.ids.extend_from_slice(ids);
        let Words { bytes, words, hasher, .. } = self;
        words.insert_unique(hash, word, |word| {
            hasher.hash_one(&bytes[word.bytes as usize..][..usize::from(word.length)])
        });
    }
}

//! JSON as servers write it. A member whose value is of another type than expected is skipped, so that it does not cost the whole
//! chunk. If a member occurs twice, the last one counts.

pub(crate) mod object;
pub(crate) mod repair;
pub(crate) mod template;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The largest number that is accepted as a token count: no model has a context near a billion tokens, and sums of counts up to this
/// number stay exact.
const MOST_TOKENS: u64 = 1_000_000_000;

/// The greatest length of a finish reason that is kept, in characters. Servers use words of about ten.
const LONGEST_REASON: usize = 64;

/// The value of an object's member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Member<T> {
    /// The member is missing, or its value is empty: `null`, `false`, or an empty list in place of something else.
    #[default]
    Absent,
    /// The value is of the wanted type.
    Read(T),
    /// The value is of another type.
    Odd,
}

impl<T> Member<T> {
    /// The value, if there is one.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Member::Read(value) => Some(value),
            Member::Absent | Member::Odd => None,
        }
    }

    /// Whether there is a value that cannot be read.
    pub(crate) fn is_odd(&self) -> bool {
        matches!(self, Member::Odd)
    }
}

/// What can be read out of a JSON value. A type says which kinds of values it takes; any other kind is odd.
pub(crate) trait FromJson<'de>: Sized {
    /// Reads a string.
    fn from_text(_: Cow<'de, str>) -> Member<Self> {
        Member::Odd
    }

    /// Reads `true`; `false` says nothing, as `null` does.
    fn from_true() -> Member<Self> {
        Member::Odd
    }

    /// Reads a whole number that is not negative.
    fn from_whole(_: u64) -> Member<Self> {
        Member::Odd
    }

    /// Reads any other number.
    fn from_number(_: f64) -> Member<Self> {
        Member::Odd
    }

    /// Reads a list.
    ///
    /// # Errors
    /// When it is not JSON.
    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Member<Self>, A::Error> {
        Ok(if pass_list(list)? == 0 { Member::Absent } else { Member::Odd })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When it is not JSON.
    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Member<Self>, A::Error> {
        pass_object(object)?;
        Ok(Member::Odd)
    }
}

/// Skips the rest of a list. Returns how many values it has.
fn pass_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<usize, A::Error> {
    let mut values = 0;
    while list.next_element::<IgnoredAny>()?.is_some() {
        values += 1;
    }
    Ok(values)
}

fn pass_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Skips the value of a member that is not used.
///
/// # Errors
/// When it is not JSON.
pub(crate) fn pass<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(drop)
}

impl<'de, T: FromJson<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member<T>, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

struct AnyValue<T>(PhantomData<T>);

impl<'de, T: FromJson<'de>> Visitor<'de> for AnyValue<T> {
    type Value = Member<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Member<T>, E> {
        Ok(Member::Absent)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Member<T>, E> {
        Ok(if value { T::from_true() } else { Member::Absent })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Member<T>, E> {
        Ok(T::from_whole(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Member<T>, E> {
        Ok(u64::try_from(value).map_or_else(|_| T::from_number(value as f64), T::from_whole))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Member<T>, E> {
        Ok(T::from_number(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Member<T>, E> {
        Ok(T::from_text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Member<T>, E> {
        Ok(T::from_text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Member<T>, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Member<T>, A::Error> {
        T::from_object(object)
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Box<T> {
    fn from_text(text: Cow<'de, str>) -> Member<Box<T>> {
        boxed(T::from_text(text))
    }

    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Member<Box<T>>, A::Error> {
        T::from_list(list).map(boxed)
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Member<Box<T>>, A::Error> {
        T::from_object(object).map(boxed)
    }
}

fn boxed<T>(member: Member<T>) -> Member<Box<T>> {
    match member {
        Member::Absent => Member::Absent,
        Member::Read(value) => Member::Read(Box::new(value)),
        Member::Odd => Member::Odd,
    }
}

/// A list, each value of which may be odd.
impl<'de, T: FromJson<'de>> FromJson<'de> for Vec<Member<T>> {
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Member<Self>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Member::Read(values))
    }
}

/// A string, which is borrowed if the JSON holds it without escapes.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> FromJson<'de> for Text<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<Text<'de>> {
        Member::Read(Text(text))
    }
}

/// The name of a member.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(KeyText)
    }
}

struct KeyText;

impl<'de> Visitor<'de> for KeyText {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(name)))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name.to_owned())))
    }
}

/// A number of tokens: a whole number, also where it is written as a float or as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

impl<'de> FromJson<'de> for Count {
    fn from_text(text: Cow<'de, str>) -> Member<Count> {
        text.trim().parse().map_or(Member::Odd, Count::from_number)
    }

    fn from_whole(value: u64) -> Member<Count> {
        if value <= MOST_TOKENS { Member::Read(Count(value)) } else { Member::Odd }
    }

    fn from_number(value: f64) -> Member<Count> {
        let is_count = value >= 0.0 && value <= MOST_TOKENS as f64 && value.fract() == 0.0;
        if is_count { Member::Read(Count(value as u64)) } else { Member::Odd }
    }
}

/// The number of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(pub(crate) u32);

impl<'de> FromJson<'de> for Index {
    fn from_text(text: Cow<'de, str>) -> Member<Index> {
        text.trim().parse().map_or(Member::Odd, |index| Member::Read(Index(index)))
    }

    fn from_whole(value: u64) -> Member<Index> {
        u32::try_from(value).map_or(Member::Odd, |index| Member::Read(Index(index)))
    }

    fn from_number(value: f64) -> Member<Index> {
        let is_index = value >= 0.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0;
        if is_index { Member::Read(Index(value as u32)) } else { Member::Odd }
    }
}

/// Why an answer ended, in a word. Numbers and objects are as good as a word: they say that it ended. Texts that only spell
/// "nothing" are no reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason<'a>(pub(crate) Cow<'a, str>);

impl<'de> FromJson<'de> for Reason<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<Reason<'de>> {
        match &*text {
            "" | "null" | "None" => Member::Absent,
            long if long.len() > LONGEST_REASON => {
                Member::Read(Reason(long.chars().take(LONGEST_REASON).collect::<String>().into()))
            }
            _ => Member::Read(Reason(text)),
        }
    }

    fn from_true() -> Member<Reason<'de>> {
        Member::Read(Reason("true".into()))
    }

    fn from_whole(value: u64) -> Member<Reason<'de>> {
        // As with `false`: a server that says 0 has not ended.
        if value == 0 { Member::Absent } else { Member::Read(Reason(value.to_string().into())) }
    }

    fn from_number(value: f64) -> Member<Reason<'de>> {
        Member::Read(Reason(value.to_string().into()))
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Reason<'de>>, A::Error> {
        let mut reason = Member::Absent;
        while object.next_key::<IgnoredAny>()?.is_some() {
            if let found @ Member::Read(_) = object.next_value::<Member<Text<'de>>>()?
                && reason == Member::Absent
                && let Member::Read(Text(text)) = found
            {
                reason = Reason::from_text(text);
            }
        }
        Ok(reason)
    }
}

/// Whether a value says anything: `null`, `false`, 0, an empty text, and lists and objects of such values do not.
pub(crate) struct Something;

impl<'de> FromJson<'de> for Something {
    fn from_text(text: Cow<'de, str>) -> Member<Something> {
        something(!text.trim().is_empty())
    }

    fn from_true() -> Member<Something> {
        Member::Read(Something)
    }

    fn from_whole(value: u64) -> Member<Something> {
        something(value != 0)
    }

    fn from_number(value: f64) -> Member<Something> {
        something(value != 0.0)
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Member<Something>, A::Error> {
        let mut found = false;
        while let Some(value) = list.next_element::<Member<Something>>()? {
            found |= value.get().is_some();
        }
        Ok(something(found))
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Something>, A::Error> {
        let mut found = false;
        while let Some((_, value)) = object.next_entry::<IgnoredAny, Member<Something>>()? {
            found |= value.get().is_some();
        }
        Ok(something(found))
    }
}

fn something(is_there: bool) -> Member<Something> {
    if is_there { Member::Read(Something) } else { Member::Absent }
}

/// A text, or an object as the JSON text of it: the arguments of a tool call.
pub(crate) struct TextOrObject<'a>(pub(crate) Cow<'a, str>);

impl<'de> FromJson<'de> for TextOrObject<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<TextOrObject<'de>> {
        Member::Read(TextOrObject(text))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Member<TextOrObject<'de>>, A::Error> {
        let value = serde_json::Value::deserialize(MapAccessDeserializer::new(object))?;
        Ok(Member::Read(TextOrObject(value.to_string().into())))
    }
}

/// Why something could not be read as JSON, in words for users: without the parser's names of types.
pub(crate) fn not_json(error: &serde_json::Error) -> String {
    let place = match error.line() {
        0 | 1 => format!("column {}", error.column().max(1)),
        line => format!("line {line}, column {}", error.column().max(1)),
    };
    match error.classify() {
        Category::Eof => "the JSON ends too early".to_owned(),
        Category::Syntax | Category::Io => format!("not JSON at {place}"),
        Category::Data => {
            let said = error.to_string();
            let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            match missing {
                Some(name) => format!("`{name}` is missing"),
                None => format!("a value of a type that may not stand there, at {place}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'de, T: FromJson<'de>>(json: &'de str) -> Member<T> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn counts_of_every_form() {
        for (json, count) in
            [("8", 8), ("8.0", 8), ("\"8\"", 8), ("\" 8.0 \"", 8), ("0", 0), ("1000000000", 1_000_000_000)]
        {
            assert_eq!(read(json), Member::Read(Count(count)), "{json}");
        }
        for json in ["-35", "8.5", "\"eight\"", "\"\"", "true", "1e300", "1000000001", "[8]", "{\"a\":8}", "\"NaN\""] {
            assert_eq!(read::<Count>(json), Member::Odd, "{json}");
        }
        for json in ["null", "false", "[]"] {
            assert_eq!(read::<Count>(json), Member::Absent, "{json}");
        }
    }

    #[test]
    fn indices_of_every_form() {
        for (json, index) in [("1", 1), ("1.0", 1), ("\"1\"", 1), ("4294967295", u32::MAX)] {
            assert_eq!(read(json), Member::Read(Index(index)), "{json}");
        }
        for json in ["-1", "0.5", "\"a\"", "4294967296", "1e30", "{}"] {
            assert_eq!(read::<Index>(json), Member::Odd, "{json}");
        }
    }

    #[test]
    fn reasons_of_every_form() {
        let word = |word: &str| Member::Read(Reason(word.to_owned().into()));
        for (json, found) in [
            ("\"stop\"", word("stop")),
            ("2", word("2")),
            ("-1", word("-1")),
            ("true", word("true")),
            ("{\"type\":\"length\",\"n\":1}", word("length")),
            ("{\"n\":1}", Member::Absent),
            ("\"\"", Member::Absent),
            ("\"null\"", Member::Absent),
            ("\"None\"", Member::Absent),
            ("0", Member::Absent),
            ("[1]", Member::Odd),
        ] {
            assert_eq!(read::<Reason<'_>>(json), found, "{json}");
        }
        let long = format!("\"{}\"", "ü".repeat(100));
        assert_eq!(read::<Reason<'_>>(&long), word(&"ü".repeat(64)));
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        for json in
            ["null", "false", "0", "0.0", "\"\"", "\" \"", "[]", "{}", "[null,[]]", "{\"code\":0,\"message\":\"\"}"]
        {
            assert!(read::<Something>(json).get().is_none(), "{json}");
        }
        for json in ["true", "1", "\"x\"", "[0,1]", "{\"a\":{\"b\":[true]}}"] {
            assert!(read::<Something>(json).get().is_some(), "{json}");
        }
    }
}

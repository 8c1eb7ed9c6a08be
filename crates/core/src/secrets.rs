//! Hides secrets: the values of headers and of queries, wherever a server repeats them.

pub use crate::hidden::shown_url;

use crate::hidden::HIDDEN;
use crate::plan::{Endpoint, Header, HeaderValue};
use crate::text::percent_encoded;

/// Shortest value that is looked for in messages, in bytes, where its name says that it is a secret: shorter ones are parts of
/// ordinary words.
const SHORTEST_NAMED: usize = 4;

/// The minimum length of a value that is searched for, and of any value in the bytes of answers, where a wrong match would destroy the
/// measured data: `true` and `chat` are values of headers too.
const SHORTEST: usize = 8;

/// Shortest beginning of a value that is hidden at a text's end, in bytes.
const SHORTEST_BEGINNING: usize = 4;

/// Headers whose values are never secret. The value of every other header is hidden, because the names of secret ones cannot be known.
const HARMLESS: [&str; 25] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "anthropic-version",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-type",
    "date",
    "dnt",
    "expect",
    "host",
    "keep-alive",
    "openai-beta",
    "pragma",
    "priority",
    "te",
    "traceparent",
    "upgrade-insecure-requests",
    "user-agent",
    "x-client-request-id",
    "x-correlation-id",
    "x-request-id",
];

/// Parts of names that say that the value is a secret.
const TELLING: [&str; 12] =
    ["auth", "cookie", "credential", "jwt", "key", "pass", "pwd", "secret", "session", "sig", "ticket", "token"];

/// Whether the value of a header of that name may be shown.
pub fn is_harmless(header: &str) -> bool {
    HARMLESS.iter().any(|name| header.eq_ignore_ascii_case(name))
}

/// The secrets of an endpoint, in the forms in which a server may repeat them: as they were sent, escaped as in JSON, and percent-encoded
/// or decoded. A part of one, or another encoding of it (base64, a hash), is not known.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The longest first, so that one within another leaves nothing of that.
    values: Vec<String>,
}

impl Secrets {
    /// The secrets in the headers and in the query of the path.
    pub fn of(endpoint: &Endpoint) -> Secrets {
        let mut values = Vec::new();
        let mut add = |name: &str, value: &str| {
            let name = name.to_ascii_lowercase();
            let shortest = if TELLING.iter().any(|part| name.contains(part)) { SHORTEST_NAMED } else { SHORTEST };
            values.extend(forms(value).into_iter().filter(|form| form.len() >= shortest && form != HIDDEN));
        };
        for Header { name, value } in &endpoint.headers {
            let HeaderValue::Secret(value) = value else { continue };
            // The part after the scheme (`Bearer`, `Basic`) is the secret.
            let rest = value.split_once(' ').map(|(_, rest)| rest.trim());
            let has_scheme = rest.is_some() && name.to_ascii_lowercase().ends_with("authorization");
            if !has_scheme {
                add(name, value);
            }
            rest.into_iter().for_each(|rest| add(name, rest));
            if name.eq_ignore_ascii_case("cookie") {
                let cookies = value.split(';').filter_map(|one| one.split_once('='));
                cookies.for_each(|(_, value)| add(name, value.trim()));
            }
        }
        let query = endpoint.path.split_once('?').map_or("", |(_, query)| query);
        for member in query.split('&') {
            let (name, value) = member.split_once('=').unwrap_or(("", member));
            add(name, value);
        }
        Secrets::new(values)
    }

    fn new(mut values: Vec<String>) -> Secrets {
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Secrets { values }
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// `text` with `<hidden>` in the place of each secret. A beginning of a secret at the end is hidden too: the text may have been
    /// cut within it.
    pub fn hide(&self, mut text: String) -> String {
        for secret in &self.values {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        let cut = self.values.iter().filter_map(|secret| {
            let mut beginnings = secret.char_indices().map(|(at, _)| at).rev();
            beginnings.find(|&at| at >= SHORTEST_BEGINNING && text.ends_with(&secret[..at]))
        });
        if let Some(longest) = cut.max() {
            text.truncate(text.len() - longest);
            text.push_str(HIDDEN);
        }
        text
    }

    /// Overwrites each secret in the bytes of an answer with asterisks, as many as it has bytes, also where it goes on in the next
    /// piece. Secrets of less than 8 bytes stay.
    pub fn overwrite(&self, pieces: &mut [&mut [u8]]) {
        let wanted = || self.values.iter().filter(|secret| secret.len() >= SHORTEST);
        if wanted().next().is_none() {
            return;
        }
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let mut found: Vec<(usize, usize)> = Vec::new();
        for secret in wanted() {
            let secret = secret.as_bytes();
            let mut from = 0;
            while let Some(at) = find(&whole[from..], secret) {
                found.push((from + at, from + at + secret.len()));
                from += at + secret.len();
            }
        }
        for (start, end) in found {
            let mut offset = 0;
            for piece in pieces.iter_mut() {
                let (low, high) = (start.max(offset), end.min(offset + piece.len()));
                if low < high {
                    piece[low - offset..high - offset].fill(b'*');
                }
                offset += piece.len();
            }
        }
    }
}

/// A secret as it is, and as other layers write it.
fn forms(value: &str) -> Vec<String> {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    let mut forms = vec![value.to_owned(), escaped.replace('/', "\\/"), escaped, percent_encoded(value)];
    forms.extend(decoded(value));
    forms
}

/// Percent-decoded, where it is encoded.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|text| text != value)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::new(values.iter().flat_map(|value| forms(value)).collect())
    }

    #[test]
    fn only_headers_that_are_known_to_be_harmless_are_shown() {
        assert!(["Accept", "user-agent", "X-Request-ID", "Content-Type"].into_iter().all(is_harmless));
        let hidden = ["Authorization", "X-API-Key", "Cookie", "X-JWT", "X-Sid", "X-Anything", "X-Amz-Signature", ""];
        assert!(!hidden.into_iter().any(is_harmless));
    }

    #[test]
    fn urls_are_shown_without_queries_and_users() {
        for (url, shown) in [
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("http://host:8000/v1", "http://host:8000/v1"),
            ("/v1/chat?api-version=1&key=abc", "/v1/chat?api-version=<hidden>&key=<hidden>"),
            ("/v1?abc", "/v1?<hidden>"),
            ("http://me:pass@host/v1", "http://<hidden>@host/v1"),
            ("me:pa@ss@host", "<hidden>@host"),
            ("https://me:p?ss@host/v1?x=1", "https://<hidden>@host/v1?x=<hidden>"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://host/?a=1#token", "http://host/?a=<hidden>#<hidden>"),
        ] {
            assert_eq!(shown_url(url), shown, "{url}");
        }
    }

    #[test]
    fn secrets_are_hidden_in_every_form() {
        let secrets = secrets(&["sk-a/b\"c+d"]);
        for text in ["sk-a/b\"c+d", "sk-a/b\\\"c+d", "sk-a\\/b\\\"c+d", "sk-a%2Fb%22c%2Bd"] {
            assert_eq!(secrets.hide(format!("key {text}, no")), "key <hidden>, no");
        }
        assert_eq!(Secrets::default().hide("sk-a".into()), "sk-a");
    }

    #[test]
    fn a_beginning_of_a_secret_at_the_end_is_hidden() {
        let secrets = secrets(&["SEKRETabcdef", "SEKRET-other"]);
        assert_eq!(secrets.hide("bad key SEKRETabcde".into()), "bad key <hidden>");
        assert_eq!(secrets.hide("bad key SEKRET".into()), "bad key <hidden>");
        assert_eq!(secrets.hide("bad key SEK".into()), "bad key SEK");
        assert_eq!(secrets.hide("SEKRETabcdef and SEKRETabcd".into()), "<hidden> and <hidden>");
    }

    #[test]
    fn bytes_keep_their_number_and_their_pieces() {
        let secrets = secrets(&["SEKRETabcdef", "short"]);
        let (mut one, mut two, mut three) = (*b"x SEKRETab", *b"c", *b"def short SEKRETabcdef");
        secrets.overwrite(&mut [&mut one[..], &mut two[..], &mut three[..]]);
        assert_eq!((&one, &two, &three), (b"x ********", b"*", b"*** short ************"));
    }

    #[test]
    fn percent_encoding_is_undone_where_there_is_some() {
        assert_eq!((decoded("a%2Fb"), decoded("a%2"), decoded("a%zz")), (Some("a/b".into()), None, None));
        assert_eq!(percent_encoded("a/b c~"), "a%2Fb%20c~");
    }
}

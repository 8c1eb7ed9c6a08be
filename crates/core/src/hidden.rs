//! The placeholder of secrets, and URLs without their secrets.

use std::borrow::Cow;

/// The placeholder of a secret.
pub const HIDDEN: &str = "<hidden>";

/// A path, or a URL, with the values of its query hidden, and what stands before the `@` of its host.
pub fn shown_url(url: &str) -> Cow<'_, str> {
    let (before, query) = match url.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (url, None),
    };
    // A user name and a password stand between the scheme and the host's end.
    let scheme = before.find("://").map_or(0, |at| at + 3);
    let authority = before[scheme..].find(['/', '#']).map_or(before.len(), |at| scheme + at);
    let user = before[scheme..authority].rfind('@').map(|at| scheme + at);
    // A password with a `?` in it is not the query's.
    let late_user = query.filter(|query| authority == before.len() && scheme > 0 && query.contains('@'));
    if let Some(query) = late_user {
        let host = query.rsplit_once('@').map_or("", |(_, host)| host);
        return Cow::Owned(format!("{}{HIDDEN}@{}", &before[..scheme], shown_url(host)));
    }
    if user.is_none() && query.is_none() {
        return Cow::Borrowed(url);
    }
    let mut shown = match user {
        Some(at) => format!("{}{HIDDEN}{}", &before[..scheme], &before[at..]),
        None => before.to_owned(),
    };
    if let Some(query) = query {
        let (query, fragment) = query.split_once('#').map_or((query, None), |(query, rest)| (query, Some(rest)));
        let members: Vec<String> = query.split('&').map(hide_member).collect();
        shown.push('?');
        shown.push_str(&members.join("&"));
        if fragment.is_some() {
            shown.push('#');
            shown.push_str(HIDDEN);
        }
    }
    Cow::Owned(shown)
}

fn hide_member(member: &str) -> String {
    match member.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        // A parameter without a name may be a key.
        None if member.is_empty() => String::new(),
        None => HIDDEN.to_owned(),
    }
}

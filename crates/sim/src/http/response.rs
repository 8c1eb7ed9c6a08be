//! Answers of HTTP/1.1 as bytes.

/// The state of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    /// It speaks another protocol from here on.
    Http2,
    Keep,
    Reset,
}

/// The content type of JSON.
pub(crate) const JSON: &str = "application/json";

/// A whole answer with a known length.
pub(crate) fn document(status: u16, content_type: &str, body: &[u8], close: bool) -> Vec<u8> {
    document_with(status, content_type, "", body, close)
}

/// The same with more fields in its head, each with its end of line.
pub(crate) fn document_with(status: u16, content_type: &str, fields: &str, body: &[u8], close: bool) -> Vec<u8> {
    let (first, close, len) = (status_line(status), close_line(close), body.len());
    let head = format!("{first}content-type: {content_type}\r\n{fields}content-length: {len}\r\n{close}\r\n");
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    out
}

/// The status line, and the line that says who answers.
pub(crate) fn status_line(status: u16) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    };
    format!("HTTP/1.1 {status} {reason}\r\nserver: streamgauge-sim\r\n")
}

/// The line that announces the end of the connection, where it ends.
pub(crate) fn close_line(close: bool) -> &'static str {
    if close { "connection: close\r\n" } else { "" }
}

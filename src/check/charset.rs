//! The charset of a body, found as browsers find it.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use ureq::http::header::CONTENT_TYPE;
use ureq::http::{HeaderMap, HeaderValue};

/// How much of a page is searched for the charset that it declares, in bytes.
const DECLARED_WITHIN: usize = 1_024;

/// Returns `bytes` as text, decoded by their byte order mark, else the charset of `Content-Type`, else, if they are
/// HTML, the one that they declare, else as UTF-8. What cannot be decoded is replaced by U+FFFD.
pub(super) fn text<'a>(bytes: &'a [u8], headers: &HeaderMap) -> Cow<'a, str> {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let encoding = parameter(content_type).and_then(Encoding::for_label).or_else(|| {
        let start = &bytes[..bytes.len().min(DECLARED_WITHIN)];
        if is_html(content_type) { declared(start) } else { None }
    });
    encoding.unwrap_or(UTF_8).decode(bytes).0
}

fn is_html(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/html")
}

/// The parameter `charset` of a `Content-Type`.
fn parameter(content_type: &[u8]) -> Option<&[u8]> {
    content_type.split(|byte| *byte == b';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_at(parameter.iter().position(|byte| *byte == b'=')?);
        let value = value[1..].trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        name.trim_ascii().eq_ignore_ascii_case(b"charset").then_some(value)
    })
}

/// The encoding that a page's `<meta>` elements declare: "prescan a byte stream to determine its encoding" of the HTML
/// standard, section 13.2.3.2.
fn declared(page: &[u8]) -> Option<&'static Encoding> {
    let mut rest = page;
    loop {
        rest = &rest[rest.iter().position(|byte| *byte == b'<')?..];
        match rest {
            [b'<', b'!', b'-', b'-', ..] => {
                // "<!-->" is a whole comment: its dashes begin and end it.
                rest = &rest[2..];
                rest = &rest[rest.windows(3).position(|bytes| bytes == b"-->")? + 3..];
            }
            [b'<', b'!' | b'/' | b'?', next, ..] if rest[1] != b'/' || !next.is_ascii_alphabetic() => {
                rest = &rest[rest.iter().position(|byte| *byte == b'>')?..];
            }
            [b'<', ..] => {
                let name = &rest[1..];
                let is_tag =
                    name.strip_prefix(b"/").unwrap_or(name).first().is_some_and(u8::is_ascii_alphabetic);
                if !is_tag {
                    rest = name;
                    continue;
                }
                let ends = |byte: &u8| is_space(*byte) || matches!(byte, b'>' | b'/');
                let length = name.iter().skip(1).position(ends)? + 1;
                let mut attributes = Attributes { rest: &name[length..] };
                if name[..length].eq_ignore_ascii_case(b"meta") {
                    if let Some(encoding) = encoding_of(&mut attributes) {
                        return Some(encoding);
                    }
                } else {
                    while attributes.next().is_some() {}
                }
                rest = attributes.rest;
            }
            _ => return None,
        }
    }
}

/// The encoding that one `<meta>` element declares.
fn encoding_of(attributes: &mut Attributes<'_>) -> Option<&'static Encoding> {
    let (mut is_pragma, mut own, mut content) = (false, None, None);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for (name, value) in attributes {
        let name = name.to_ascii_lowercase();
        if seen.contains(&name) {
            continue;
        }
        match name.as_slice() {
            b"http-equiv" => is_pragma = value.eq_ignore_ascii_case(b"content-type"),
            b"content" => content = charset_in(value),
            b"charset" => own = Some(value),
            _ => {}
        }
        seen.push(name);
    }
    let label = own.or(content.filter(|_| is_pragma))?;
    match Encoding::for_label(label)? {
        // Whoever could read the declaration byte by byte did not read UTF-16.
        encoding if encoding == UTF_16LE || encoding == UTF_16BE => Some(UTF_8),
        encoding if encoding == X_USER_DEFINED => Some(WINDOWS_1252),
        encoding => Some(encoding),
    }
}

/// The charset in the `content` of a `<meta http-equiv>`: HTML standard, section 2.5.5.
fn charset_in(content: &[u8]) -> Option<&[u8]> {
    let mut rest = content;
    loop {
        let found = rest.windows(7).position(|bytes| bytes.eq_ignore_ascii_case(b"charset"))?;
        rest = rest[found + 7..].trim_ascii_start();
        let Some(value) = rest.strip_prefix(b"=") else { continue };
        return match value.trim_ascii_start() {
            [quote @ (b'"' | b'\''), value @ ..] => value.split(|byte| byte == quote).next(),
            value => value.split(|byte| is_space(*byte) || *byte == b';').next(),
        };
    }
}

/// The attributes of a tag, up to its `>`: "get an attribute", section 13.2.3.2.
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Takes bytes up to the first for which `ends` holds, or all.
    fn take(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| ends(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.take(|byte| !is_space(byte) && byte != b'/');
        if matches!(self.rest, [] | [b'>', ..]) {
            return None;
        }
        // A "=" at the start belongs to the name.
        let from = self.rest;
        self.rest = &self.rest[1..];
        let more = self.take(|byte| is_space(byte) || matches!(byte, b'/' | b'>' | b'=')).len();
        let name = &from[..1 + more];
        self.take(|byte| !is_space(byte));
        let Some(rest) = self.rest.strip_prefix(b"=") else { return Some((name, b"")) };
        self.rest = rest;
        self.take(|byte| !is_space(byte));
        let value = match self.rest {
            [quote @ (b'"' | b'\''), rest @ ..] => {
                self.rest = rest;
                let value = self.take(|byte| byte == *quote);
                self.take(|byte| byte != *quote);
                value
            }
            _ => self.take(|byte| is_space(byte) || byte == b'>'),
        };
        Some((name, value))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], content_type: &str) -> String {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
        text(bytes, &headers).into_owned()
    }

    #[test]
    fn text_is_decoded_by_its_mark_then_its_charset_then_as_utf_8() {
        for (bytes, content_type, expected) in [
            (&b"gr\xfc\xdfe"[..], "text/html; charset=ISO-8859-1", "grüße"),
            (b"gr\xfc\xdfe", "text/html; Charset=\"latin1\"; x=y", "grüße"),
            (b"gr\xc3\xbc\xc3\x9fe", "text/html", "grüße"),
            (b"\xff\xfeh\0i\0", "text/html; charset=latin1", "hi"),
            (b"a\xffb", "text/html; charset=no-such-charset", "a\u{fffd}b"),
            (b"\xef\xbb\xbf{}", "application/json", "{}"),
        ] {
            assert_eq!(decoded(bytes, content_type), expected, "{content_type}");
        }
        assert_eq!(text(b"hi", &HeaderMap::new()), "hi");
    }

    #[test]
    fn a_page_declares_its_charset_as_browsers_read_it() {
        for declaration in [
            "<meta charset=latin1>",
            "<META/CHARSET = 'Latin1'>",
            "<meta name=a charset=\"latin1\" charset=utf-8/>",
            "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=iso-8859-1\">",
            "<meta content='a charset charset = \"latin1\"' http-equiv=content-type>",
            "<!DOCTYPE html><html lang='a>b' x><!-- <meta charset=utf-8> --><!--><meta charset=latin1>",
            "<?xml a?></p a='<meta charset=utf-8>'><meta charset=latin1>",
            "< meta charset=utf-8><1><meta charset=no-such><meta charset=latin1>",
            "<meta charset=x-user-defined>",
        ] {
            let page = [declaration.as_bytes(), b"\xe9t\xe9"].concat();
            assert!(decoded(&page, "Text/HTML ; a=b").ends_with("été"), "{declaration}");
        }
    }

    #[test]
    fn what_declares_no_charset_is_utf_8() {
        let late = format!("{}<meta charset=latin1>", " ".repeat(1_010));
        for declaration in [
            "",
            "<",
            "<meta",
            "<meta charset",
            "<meta charset=",
            "<meta charset='latin1",
            "<metas charset=latin1>",
            "<meta content='charset=latin1'>",
            "<meta http-equiv=refresh content='charset=latin1'>",
            "<meta charset=utf-16le>",
            "<!-- <meta charset=latin1>",
            "<!-- <meta charset=latin1> -->",
            "<a title='<meta charset=latin1>'>",
            late.as_str(),
        ] {
            let page = [declaration.as_bytes(), "é".as_bytes()].concat();
            assert!(decoded(&page, "text/html").ends_with('é'), "{declaration}");
        }
        // The header counts for more, and only HTML declares.
        let page = "<meta charset=latin1>é".as_bytes();
        assert!(decoded(page, "text/html; charset=utf-8").ends_with('é'));
        assert!(decoded(page, "text/plain").ends_with('é'));
    }
}

//! The template of a message: what a webhook's body is made of, if it is not webmon's own.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};

use crate::text::{printable, truncated};

/// The longest template, in bytes.
pub(super) const MAX_TEMPLATE: usize = 64 << 10;
/// The largest message that a template makes, in bytes.
pub(super) const MAX_RENDERED: usize = 256 << 10;
/// How much work a template may do: so many instructions, or as many times 64 bytes.
const FUEL: u64 = 500_000;
const NAME: &str = "body";
/// Two messages, as templates see them: one with all that there may be, one with as little as there may be.
const SAMPLES: [&str; 2] = [include_str!("sample_message.json"), include_str!("sample_message_bare.json")];

/// The template of a message (minijinja, which is Jinja2). It is compiled once, and tried on sample messages.
///
/// It has no access to files or to the network, and it includes nothing. Its work and what it makes are limited. A name
/// that is not defined is an error. If the content type is JSON, each value is written as JSON: a text with its quotes.
#[derive(Clone)]
pub struct MessageTemplate {
    environment: Arc<Environment<'static>>,
    content_type: String,
}

impl MessageTemplate {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it, and in which of its lines; that it cannot be rendered with a sample; or that this is not
    /// JSON, though the content type is.
    pub fn new(text: String, content_type: String) -> Result<MessageTemplate, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(50);
        let escape = escape(&content_type);
        let is_json = escape == AutoEscape::Json;
        environment.set_auto_escape_callback(move |_| escape.clone());
        environment.add_template_owned(NAME, text).map_err(|error| told(&error))?;
        let template = MessageTemplate { environment: Arc::new(environment), content_type };
        for sample in SAMPLES {
            let sample: serde_json::Value =
                serde_json::from_str(sample).map_err(|error| format!("has no sample: {error}"))?;
            let rendered = template.render(&sample)?;
            if is_json && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&rendered) {
                return Err(format!(
                    "does not make JSON ({error}): expected values such as {{{{ title }}}}, which bring their quotes, or \
                     another content_type"
                ));
            }
        }
        Ok(template)
    }

    /// What the template makes of `message`.
    ///
    /// # Errors
    /// It names what is not there, it does too much work, or it makes too much.
    pub(crate) fn render(&self, message: &serde_json::Value) -> Result<Vec<u8>, String> {
        let template = self.environment.get_template(NAME).map_err(|error| told(&error))?;
        let mut rendered = Bounded(Vec::new());
        let done = template.render_captured_to(Serde(message), &mut rendered);
        match done.map(drop) {
            Ok(()) => Ok(rendered.0),
            Err(_) if rendered.0.len() >= MAX_RENDERED => {
                Err(format!("makes more than {MAX_RENDERED} bytes"))
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// The type of what it makes.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }
}

impl fmt::Debug for MessageTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold a token.
        f.debug_struct("MessageTemplate").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// What takes the output, up to its limit.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = MAX_RENDERED - self.0.len();
        self.0.extend_from_slice(bytes.get(..left).unwrap_or(bytes));
        if bytes.len() > left { Err(io::Error::other("too large")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How values are written in a body of this type.
fn escape(content_type: &str) -> AutoEscape {
    let mime = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if mime.ends_with("/json") || mime.ends_with("+json") {
        AutoEscape::Json
    } else if mime.ends_with("html") || mime.ends_with("xml") {
        AutoEscape::Html
    } else {
        AutoEscape::None
    }
}

/// What is wrong, and where, on one line.
fn told(error: &Error) -> String {
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let what = printable(&truncated(&what, 300));
    match error.line() {
        Some(line) => format!("cannot be used: line {line} of the template: {what}"),
        None => format!("cannot be used: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str, content_type: &str) -> Result<MessageTemplate, String> {
        MessageTemplate::new(text.to_owned(), content_type.to_owned())
    }

    #[test]
    fn a_template_is_limited_in_what_it_may_do_and_make() {
        for (text, expected) in [
            ("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", "fuel"),
            ("{% set x = 'x' * 999999999 %}{{ x }}", "cannot be used"),
            ("{% for a in range(30000) %}0123456789{% endfor %}", "makes more than"),
            ("{% include 'other' %}", "line 1"),
            ("{% import 'other' as other %}", "line 1"),
            ("one\n{{ nothing }}", "line 2"),
            ("{{ notices[0].nothing }}", "undefined"),
            ("{{ title | nothing }}", "unknown filter"),
            ("{{ title", "line 1"),
        ] {
            let problem = template(text, "text/plain").map(drop).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
    }

    #[test]
    fn values_are_written_as_the_content_type_asks() {
        let message = serde_json::json!({"title": "a \"b\" <c>\n"});
        for (content_type, expected) in [
            ("application/json", r#""a \"b\" <c>\n""#),
            ("application/vnd.x+json; charset=utf-8", r#""a \"b\" <c>\n""#),
            ("text/html", "a &quot;b&quot; &lt;c&gt;\n"),
            ("text/plain; charset=utf-8", "a \"b\" <c>\n"),
        ] {
            let template = template("{{ title }}", content_type).unwrap();
            let rendered = String::from_utf8(template.render(&message).unwrap()).unwrap();
            let unescaped = rendered.replace("\\u003c", "<").replace("\\u003e", ">");
            assert_eq!(unescaped, expected, "{content_type}");
        }
        let problem = template(r#"{"text": "{{ title }}"}"#, "application/json").map(drop).unwrap_err();
        assert!(problem.starts_with("does not make JSON"), "{problem}");
    }
}

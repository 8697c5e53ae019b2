//! Log lines on stderr: for people, or one JSON object a line. Neither can be forged by what a site says:
//! control characters are escaped in both.

use std::fmt::{self, Write};
use std::io::IsTerminal;

use anyhow::Context;
use clap::ValueEnum;
use jiff::Timestamp;
use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Record};

/// The longest message or text value, in bytes.
const MAX_TEXT: usize = 4_096;

#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// Log lines for people, or one JSON object on each line [default: human on a terminal, json elsewhere]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,

    /// Log lines of this level and the more severe ones: error, warn, info, debug or trace
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    log_level: LevelFilter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl LogArgs {
    /// Starts logging. Call it once.
    pub fn start(&self) -> anyhow::Result<()> {
        let format = self
            .log_format
            .unwrap_or_else(|| if std::io::stderr().is_terminal() { Format::Human } else { Format::Json });
        fern::Dispatch::new()
            .level(self.log_level)
            // It logs its own states.
            .level_for("tokio_cron_scheduler", self.log_level.min(LevelFilter::Warn))
            // They log requests with their headers, which may hold credentials.
            .level_for("ureq", self.log_level.min(LevelFilter::Info))
            .level_for("ureq_proto", self.log_level.min(LevelFilter::Info))
            .level_for("rustls", self.log_level.min(LevelFilter::Info))
            // The driver logs every statement with its parameters, and the server's notices, one level too loud.
            .level_for("tokio_postgres", self.log_level.min(LevelFilter::Info))
            .level_for("postgres", self.log_level.min(LevelFilter::Warn))
            .format(move |out, _, record| match format {
                Format::Human => out.finish(format_args!("{}", human(Timestamp::now(), record))),
                Format::Json => out.finish(format_args!("{}", json(Timestamp::now(), record))),
            })
            .chain(std::io::stderr())
            .apply()
            .context("cannot start logging")
    }
}

fn human(now: Timestamp, record: &Record<'_>) -> String {
    let mut line = format!("{now:.3} {:5} ", record.level());
    escape(&mut line, &bounded(&record.args().to_string()));
    let mut pairs = Pairs(|key: Key<'_>, value: Value<'_>| {
        let text = bounded(&value.to_string());
        let _ = write!(line, " {key}=");
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
            let _ = write!(line, "{text:?}");
        } else {
            line.push_str(&text);
        }
    });
    let _ = record.key_values().visit(&mut pairs);
    line
}

fn json(now: Timestamp, record: &Record<'_>) -> String {
    let mut object = serde_json::Map::new();
    object.insert("at".to_owned(), format!("{now:.3}").into());
    object.insert("level".to_owned(), record.level().as_str().to_lowercase().into());
    object.insert("target".to_owned(), record.target().into());
    object.insert("message".to_owned(), bounded(&record.args().to_string()).into());
    let mut pairs = Pairs(|key: Key<'_>, value: Value<'_>| {
        let value = match serde_json::to_value(&value) {
            Ok(serde_json::Value::String(text)) => bounded(&text).into(),
            Ok(value) => value,
            Err(_) => bounded(&value.to_string()).into(),
        };
        // What every line has is not overwritten by a pair of the same name.
        object.entry(key.as_str()).or_insert(value);
    });
    let _ = record.key_values().visit(&mut pairs);
    serde_json::Value::Object(object).to_string()
}

struct Pairs<F>(F);

impl<'kvs, F: FnMut(Key<'kvs>, Value<'kvs>)> VisitSource<'kvs> for Pairs<F> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        (self.0)(key, value);
        Ok(())
    }
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Human => "human",
            Format::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(message: &str, value: &str) -> (String, String) {
        let pairs = [("error", value), ("level", "forged")];
        let args = format_args!("{message}");
        let record =
            Record::builder().args(args).level(log::Level::Warn).target("webmon").key_values(&pairs).build();
        (human(Timestamp::UNIX_EPOCH, &record), json(Timestamp::UNIX_EPOCH, &record))
    }

    #[test]
    fn a_log_line_stays_one_line_whatever_a_site_says() {
        let (human, json) = lines("two\nlines", "a\r\n\"b\"\u{1b}[31m");
        assert_eq!(
            human,
            r#"1970-01-01T00:00:00.000Z WARN  two\nlines error="a\r\n\"b\"\u{1b}[31m" level=forged"#
        );
        assert!(!json.contains('\n'), "{json}");
    }

    #[test]
    fn json_lines_keep_their_key_values() {
        let (_, json) = lines("two\nlines", "a\nb");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "at": "1970-01-01T00:00:00.000Z", "level": "warn", "target": "webmon",
                "message": "two\nlines", "error": "a\nb",
            })
        );
    }

    #[test]
    fn a_log_line_is_bounded() {
        let (human, json) = lines(&"ä".repeat(10_000), &"b".repeat(10_000));
        assert!(human.len() < 3 * MAX_TEXT && json.len() < 3 * MAX_TEXT);
    }
}

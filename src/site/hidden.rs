//! What records and logs of a site do not show.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use url::Url;

/// What stands for the variables of a site's configuration, such as a token: no record and no log shows it. By default
/// there is nothing to hide.
///
/// ```
/// use webmon::site::Hidden;
///
/// let url: url::Url = "https://hooks.example/T0ken/ping".parse()?;
/// let hidden = Hidden::new(&url, &["T0ken".to_owned()], vec!["in stock".to_owned()]);
/// assert_eq!(hidden.in_url(url.to_string()), "https://hooks.example/.../ping");
/// assert_eq!(hidden.in_text(r#"the body does not match "in stock""#), "the body does not match (hidden)");
/// assert_eq!(format!("{hidden:?}"), "Hidden(***)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Hidden(Option<Arc<What>>);

struct What {
    /// Parts of the URL's path and query, as it writes them, the longest first.
    of_url: Vec<String>,
    /// Texts as messages quote them.
    quoted: Vec<String>,
}

impl Hidden {
    /// Hides these `values` of the path and the query of `url`, and `texts` wherever a message quotes them.
    pub fn new(url: &Url, values: &[String], texts: Vec<String>) -> Hidden {
        let mut of_url: Vec<String> = values.iter().flat_map(|value| as_written(url, value)).collect();
        // One value may be the start of another.
        of_url.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        of_url.dedup();
        let mut quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
        quoted.sort();
        quoted.dedup();
        let is_empty = of_url.is_empty() && quoted.is_empty();
        Hidden((!is_empty).then(|| Arc::new(What { of_url, quoted })))
    }

    /// Returns `url` with `...` in place of what is hidden in its path and its query. The host stays: the name service
    /// and the network see it too.
    pub fn in_url(&self, url: String) -> String {
        let Some(what) = &self.0 else { return url };
        let host = url.find("://").map_or(0, |at| at + 3);
        let host = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
        let (host, mut rest) = url.split_at(host);
        let mut shown = host.to_owned();
        while let Some(first) = rest.chars().next() {
            match what.of_url.iter().find_map(|value| rest.strip_prefix(value.as_str())) {
                Some(behind) => {
                    shown.push_str("...");
                    rest = behind;
                }
                None => {
                    shown.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        shown
    }

    /// What the path and the query of the URL hide, the longest first.
    #[cfg(feature = "check")]
    pub(crate) fn of_url(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |what| &what.of_url)
    }

    /// Returns `text` with `(hidden)` in place of what is hidden where it is quoted.
    pub fn in_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(what) = &self.0 else { return Cow::Borrowed(text) };
        let hide = |text: String, quoted: &String| text.replace(quoted.as_str(), "(hidden)");
        Cow::Owned(what.quoted.iter().fold(text.to_owned(), hide))
    }
}

/// A value as a URL writes it: in a path, and in a query.
fn as_written(url: &Url, value: &str) -> Vec<String> {
    let (mut path, mut query) = (url.clone(), url.clone());
    path.set_path(&format!("/{value}"));
    query.set_query(Some(value));
    let path = path.path().strip_prefix('/').unwrap_or_default().to_owned();
    let forms = [value.to_owned(), path, query.query().unwrap_or_default().to_owned()];
    forms.into_iter().filter(|form| !form.is_empty()).collect()
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(***)")
    }
}

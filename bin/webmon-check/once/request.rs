//! The request for URLs, as the command line gives it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use ureq::http::{HeaderName, HeaderValue};
use webmon::site::{Method, RequestBody, Site, Tls, TlsOptions};

/// As in the configuration: the most headers, their longest value, and the largest body in bytes.
const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 4_096;
const MAX_BODY: usize = 1 << 20;

#[derive(clap::Args)]
pub struct RequestArgs {
    /// The request's method for URLs [default: GET, or POST with --data]
    #[arg(short = 'X', long)]
    method: Option<String>,

    /// A header of the request for URLs, such as "Accept: text/html", up to 32. It is sent to the URL's own host alone
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// The body of the request for URLs, up to 1 MiB: a text, @FILE, or @- for stdin. Its type is that of a form unless
    /// there is a Content-Type header
    #[arg(short, long, value_name = "TEXT|@FILE")]
    data: Option<String>,

    /// Do not verify the certificates of URLs: whoever answers may be anybody
    #[arg(short = 'k', long)]
    pub insecure: bool,
}

/// What the command line says of the request. The rest is as `[site_defaults]` says.
pub struct Request {
    method: Option<Method>,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<RequestBody>,
    /// TLS without verification.
    tls: Option<Arc<Tls>>,
}

impl RequestArgs {
    pub fn is_empty(&self) -> bool {
        self.method.is_none() && self.headers.is_empty() && self.data.is_none() && !self.insecure
    }

    /// # Errors
    /// Everything that cannot be used. Headers and bodies are not quoted: they may hold secrets.
    pub fn read(&self) -> Result<Request, Vec<String>> {
        let mut faults = Vec::new();
        let mut request = Request { method: None, host: None, headers: Vec::new(), body: None, tls: None };
        match self.method.as_deref().map(str::parse).transpose() {
            Ok(method) => request.method = method,
            Err(error) => faults.push(format!("--method {error}")),
        }
        if self.headers.len() > MAX_HEADERS {
            faults.push(format!("there are {} --header: expected at most {MAX_HEADERS}", self.headers.len()));
        }
        for (index, text) in self.headers.iter().enumerate() {
            match header(text) {
                Ok((name, host)) if name == "host" => request.host = Some(host),
                Ok(header) => request.headers.push(header),
                Err(problem) => faults.push(format!("--header {}: {problem}", index + 1)),
            }
        }
        match self.data.as_deref().map(content).transpose() {
            Ok(content) => {
                request.body = content.map(|content| RequestBody {
                    content: content.into(),
                    content_type: "application/x-www-form-urlencoded".to_owned(),
                });
            }
            Err(problem) => faults.push(format!("--data {problem}")),
        }
        if request.body.is_some()
            && let Some(method @ (Method::Get | Method::Head)) = &request.method
        {
            faults.push(format!("--method {method} sends no --data: expected another one, such as POST"));
        }
        if self.insecure {
            match Tls::new(&TlsOptions { verify: false, ..TlsOptions::default() }) {
                Ok(tls) => request.tls = Some(Arc::new(tls)),
                Err(error) => faults.push(format!("--insecure: {error}")),
            }
        }
        if faults.is_empty() { Ok(request) } else { Err(faults) }
    }
}

impl Request {
    pub fn apply(&self, site: &mut Site) {
        let bodiless = |method: &Method| matches!(method, Method::Get | Method::Head);
        if let Some(body) = &self.body {
            site.body = Some(body.clone());
            if bodiless(&site.method) {
                site.method = Method::Post;
            }
        }
        if let Some(method) = &self.method {
            site.method = method.clone();
        }
        if bodiless(&site.method) {
            site.body = None;
        }
        if self.host.is_some() {
            site.host.clone_from(&self.host);
        }
        if self.tls.is_some() {
            site.tls.clone_from(&self.tls);
        }
        // Of headers with the same name the last one is sent.
        site.headers.extend_from_slice(&self.headers);
    }
}

/// The name in small letters, and the value.
fn header(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').map(|(name, value)| (name.parse::<HeaderName>(), value.trim()));
    let Some((Ok(name), value)) = pair else {
        return Err("is not a header: expected one such as \"Accept: text/html\"".to_owned());
    };
    let name = name.as_str();
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    match name {
        "content-length" | "transfer-encoding" | "connection" | "expect" => {
            Err(format!("{name:?} is set by the check itself"))
        }
        _ if value.len() > MAX_VALUE => {
            Err(format!("the value of {name:?} is longer than {MAX_VALUE} bytes"))
        }
        "host" if !value.bytes().all(of_host) => Err("the value of \"host\" is not a host".to_owned()),
        _ if value.parse::<HeaderValue>().is_err() => {
            Err(format!("the value of {name:?} has a control character"))
        }
        _ => Ok((name.to_owned(), value.to_owned())),
    }
}

fn content(data: &str) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let source: Box<dyn Read> = match data.strip_prefix('@') {
        None => Box::new(data.as_bytes()),
        Some("-") => Box::new(io::stdin()),
        Some(path) => {
            Box::new(File::open(path).map_err(|error| format!("cannot be read from {path:?}: {error}"))?)
        }
    };
    source
        .take(MAX_BODY as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if content.len() > MAX_BODY {
        return Err(format!("is larger than {MAX_BODY} bytes"));
    }
    Ok(content)
}

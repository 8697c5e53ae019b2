//! The faults of one configuration, and what all its tables share.

use std::cell::RefCell;
use std::collections::HashSet;

use figment::value::Tag;

#[cfg(feature = "check")]
use super::built_tls::BuiltTls;
use super::env::Environment;
use super::fault::Fault;
use super::role::Role;
use super::source::{Source, Sources};

/// What all tables of one configuration share.
pub(super) struct Context<'a> {
    pub sources: &'a Sources,
    pub environment: &'a Environment,
    /// The origin of a missing key: the file.
    pub default_origin: &'a str,
    /// The program that reads it.
    #[cfg_attr(not(feature = "check"), expect(dead_code, reason = "only checks need the files of tls"))]
    pub role: Role,
    /// The TLS settings of the sites.
    #[cfg(feature = "check")]
    pub tls: BuiltTls,
    pub faults: RefCell<Faults>,
}

/// Faults in the order found, each once, because a value of `site_defaults` is read for every site.
#[derive(Default)]
pub(super) struct Faults {
    found: Vec<Fault>,
    seen: HashSet<Fault>,
}

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        if self.seen.insert(fault.clone()) {
            self.found.push(fault);
        }
    }

    pub(super) fn into_found(self) -> Vec<Fault> {
        self.found
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(
        sources: &'a Sources,
        environment: &'a Environment,
        default_origin: &'a str,
        role: Role,
        faults: Faults,
    ) -> Context<'a> {
        Context {
            sources,
            environment,
            default_origin,
            role,
            #[cfg(feature = "check")]
            tls: BuiltTls::default(),
            faults: RefCell::new(faults),
        }
    }

    pub(super) fn origin(&self, tag: Tag, path: &str) -> String {
        match self.sources.of(tag) {
            Some(Source::Environment) => self.environment.name_of(path).to_owned(),
            _ => self.file(tag).to_owned(),
        }
    }

    /// The file in which a value stands; the main one for values of the environment.
    pub(super) fn file(&self, tag: Tag) -> &str {
        self.sources.file(tag).map_or(self.default_origin, |(_, shown)| shown)
    }

    /// Whether variables are filled in, so that no message shows the value.
    pub(super) fn is_filled(&self, tag: Tag) -> bool {
        matches!(self.sources.of(tag), Some(Source::Filled(_) | Source::Unfilled(_)))
    }

    pub(super) fn report(&self, origin: String, path: String, problem: String) {
        self.faults.borrow_mut().push(Fault::new(origin, path, problem));
    }

    /// Reports what is wrong with a value. `problem` shows nothing of it.
    pub(super) fn refuse(&self, tag: Tag, path: &str, problem: String) {
        if !matches!(self.sources.of(tag), Some(Source::Unfilled(_))) {
            self.report(self.origin(tag, path), path.to_owned(), problem);
        }
    }

    /// Reports what is wrong with `text`. `problem` may show it, so it is not told if variables are filled in: only what
    /// was expected is.
    pub(super) fn refuse_text(&self, tag: Tag, path: &str, text: &str, problem: String) {
        const EXPECTED: &str = ": expected ";
        if !self.is_filled(tag) {
            return self.refuse(tag, path, problem);
        }
        let expected = match problem.rfind(EXPECTED) {
            Some(at) if !text.contains(EXPECTED) => problem.get(at..).unwrap_or_default(),
            _ => "",
        };
        self.refuse(tag, path, format!("(hidden) cannot be used{expected}"));
    }
}

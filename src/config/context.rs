//! The faults of one configuration, each with its path and origin, and what all its tables share.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::{self, Display};

use figment::value::Tag;
use figment::{Figment, Source};

use super::env::{ENVIRONMENT, Environment};

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where the value comes from: the file, or the environment variable.
    pub origin: String,
    /// The key's path, such as `kafka.brokers` or `site[2] "shop": timeout`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { " " };
        write!(f, "{}: {}{separator}{}", self.origin, self.path, self.problem)
    }
}

/// What all tables of one configuration share.
pub(super) struct Context<'a> {
    pub figment: &'a Figment,
    pub environment: &'a Environment,
    /// The origin of a missing key: the file.
    pub default_origin: String,
    pub faults: RefCell<Faults>,
}

/// Faults in the order found, each once, because a value of `site_defaults` is read for every site.
#[derive(Default)]
pub(super) struct Faults {
    found: Vec<Fault>,
    seen: HashSet<Fault>,
}

impl Faults {
    fn push(&mut self, fault: Fault) {
        if self.seen.insert(fault.clone()) {
            self.found.push(fault);
        }
    }

    pub(super) fn into_found(self) -> Vec<Fault> {
        self.found
    }
}

impl Context<'_> {
    pub(super) fn origin(&self, tag: Tag, path: &str) -> String {
        match self.figment.get_metadata(tag) {
            Some(metadata) if metadata.name == ENVIRONMENT => self.environment.name_of(path).to_owned(),
            Some(metadata) => match &metadata.source {
                Some(Source::File(file)) => file.display().to_string(),
                _ => metadata.name.to_string(),
            },
            None => self.default_origin.clone(),
        }
    }

    pub(super) fn report(&self, origin: String, path: String, problem: String) {
        self.faults.borrow_mut().push(Fault { origin, path, problem });
    }
}

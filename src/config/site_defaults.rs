//! `[site_defaults]` for a URL that is not listed as a site.

use std::fmt;

use url::Url;

use super::sites::Options;
use crate::limits::MAX_TEXT;
use crate::schedule::Schedule;
use crate::site::{Hidden, Site, redacted};
use crate::text::truncated;

/// `[site_defaults]` for a URL that is not listed as a site. They hold secrets, which `Debug` does not show.
#[derive(Clone)]
pub struct SiteDefaults {
    options: Options,
    /// The texts into which variables were filled.
    hidden: Vec<String>,
}

impl SiteDefaults {
    pub(super) fn new(options: Options, hidden: Vec<String>) -> SiteDefaults {
        SiteDefaults { options, hidden }
    }

    /// A site with these defaults. Its name is `url` without secrets.
    pub fn site(&self, url: Url, schedule: Schedule) -> Site {
        let name = truncated(&redacted(&url, false), MAX_TEXT);
        let mut site = Site::new(&name, url, schedule);
        self.options.clone().apply(&mut site);
        site.hidden = Hidden::new(&site.url, &[], self.hidden.clone());
        site
    }
}

impl fmt::Debug for SiteDefaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteDefaults").finish_non_exhaustive()
    }
}

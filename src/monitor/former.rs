//! The schedules that watermarks speak of.

use std::collections::HashMap;

use super::watermark::Watermark;
use crate::schedule::Schedule;
use crate::site::Site;

/// The schedules in force when watermarks were noted, each parsed once.
#[derive(Default)]
pub(super) struct FormerSchedules(HashMap<(String, String), Schedule>);

impl FormerSchedules {
    /// The schedule of `mark`, whose site is `site` now. None when it has no instant after the mark, or cannot be read.
    pub(super) fn of(&mut self, mark: &Watermark, site: Option<&Site>) -> Option<Schedule> {
        if let Some(same) = site.map(|site| &site.schedule)
            && same.expression() == mark.expression
            && same.timezone() == mark.timezone
        {
            return Some(same.clone());
        }
        let name = (mark.expression.clone(), mark.timezone.clone());
        if let Some(schedule) = self.0.get(&name) {
            return Some(schedule.clone());
        }
        match Schedule::new_at(&mark.expression, &mark.timezone, mark.until) {
            Ok(schedule) => {
                self.0.insert(name, schedule.clone());
                Some(schedule)
            }
            Err(error) => {
                log::warn!(site = mark.site, error = error.to_string(); "a site's former schedule cannot be followed up");
                None
            }
        }
    }
}

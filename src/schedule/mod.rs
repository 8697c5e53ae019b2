//! Cron schedules. (skeleton)
use jiff::Timestamp;
#[derive(Clone, Debug)]
pub struct Schedule;
impl Schedule {
    pub fn next_after(&self, _after: Timestamp) -> Option<Timestamp> {
        None
    }
}

//! Cron schedules. (skeleton)
use jiff::Timestamp;
#[derive(Clone, Debug)]
pub struct Schedule(String);
impl Schedule {
    pub fn new(e: &str, _z: &str) -> Result<Schedule, String> {
        Ok(Schedule(e.into()))
    }
    pub fn expression(&self) -> &str {
        &self.0
    }
    pub fn shortest_interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs(3600)
    }
    pub fn next_after(&self, _after: Timestamp) -> Option<Timestamp> {
        None
    }
}

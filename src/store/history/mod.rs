//! History: results summed up by hour and day, incidents, and how long all of it is kept.

mod incidents;
mod locations;
pub(super) mod marks;
pub(super) mod retention;
mod rolled_up;
mod rollup;
mod set_aside;

pub use self::locations::{Location, locations, retire_location, retire_silent};
pub use self::retention::{
    Retained, RetentionPlan, apply_retention, lower_retention, plan_retention, retain,
};
pub use self::rolled_up::{RollUpLimits, RolledUp};
pub use self::rollup::roll_up;
pub use self::set_aside::{SetAside, set_aside};

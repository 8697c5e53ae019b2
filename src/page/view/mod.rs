//! HTML and SVG. Each function turns what is to be shown into markup. maud escapes every text.

mod badge;
mod bar;
mod chart;
mod front;
mod incidents;
mod look;
mod parts;
mod results;
mod site;
mod wall;

pub(super) use self::badge::badge;
pub(super) use self::front::front;
pub(super) use self::incidents::{atom, incident, incidents};
pub(super) use self::look::Look;
pub(super) use self::site::site;
pub(super) use self::wall::wall;

//! Who is told of an alert.

use super::notice::Notice;
use crate::config::Route;

/// Whether `route` is about `notice`.
pub(super) fn matches(route: &Route, notice: &Notice) -> bool {
    route.kinds.contains(&notice.kind)
        && notice.severity >= route.severity
        && (route.of.is_empty() || route.of.contains(&notice.subject, &notice.labels))
}

/// The routes by which `notice` is told: of those to one receiver, the first that matches.
pub(super) fn routes_of<'a>(routes: &'a [Route], notice: &Notice) -> Vec<&'a Route> {
    let mut found: Vec<&Route> = Vec::new();
    for route in routes.iter().filter(|route| matches(route, notice)) {
        if found.iter().all(|other| other.receiver != route.receiver) {
            found.push(route);
        }
    }
    found
}

/// The route by which `receiver` is told of `notice`. None if the configuration has changed since.
pub(super) fn route_to<'a>(routes: &'a [Route], receiver: &str, notice: &Notice) -> Option<&'a Route> {
    routes.iter().find(|route| route.receiver == receiver && matches(route, notice))
}

//! What is older than hours are kept stays as it was derived.

use webmon::record::Outcome;
use webmon::site::Incident as Thresholds;
use webmon::store;

use crate::common::{DAY, HOUR, Incident, THRESHOLDS, config, purge_hours, roll_up, seen, stored_incidents};
use crate::support::log::Log;
use crate::support::{database, instant};

#[test]
fn an_incident_older_than_hours_are_kept_stays_whatever_changes() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let (s, f) = (Outcome::Success, Outcome::Failure);
    // Down for two hours four days ago, again for an hour yesterday, and now.
    for (hour, outcome) in
        [(-96, s), (-95, f), (-94, f), (-93, s), (-24, f), (-23, f), (-22, s), (-2, f), (-1, f)]
    {
        for location in ["here", "kept"] {
            log.append(0, seen("shop", location, hour * HOUR, outcome, THRESHOLDS));
        }
        // One that reaches from before what is kept until today.
        log.append(0, seen("long", "here", hour * HOUR, if hour == -96 { s } else { f }, THRESHOLDS));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let before = stored_incidents(&mut database.client());
    assert_eq!(before.len(), 4);
    purge_hours(&database, -2 * DAY);
    let old = |incidents: &[Incident]| -> Vec<Incident> {
        incidents.iter().filter(|i| i.from < instant(-2 * DAY).as_second()).cloned().collect()
    };

    // A second location comes, one is renamed, and both fail like the others.
    for location in ["there", "kept-renamed"] {
        for site in ["shop", "long"] {
            log.append(0, seen(site, location, -HOUR, f, THRESHOLDS));
        }
    }
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(stored_incidents(&mut database.client()), before);

    // The long one lasts.
    log.append(0, seen("long", "here", -3_000, f, THRESHOLDS));
    log.store(&config).unwrap();
    roll_up(&database);
    let longer = stored_incidents(&mut database.client());
    assert_eq!(
        old(&longer)[0],
        Incident { failures: old(&before)[0].failures + 1, ..old(&before)[0].clone() }
    );
    assert_eq!(old(&longer)[1], old(&before)[1]);

    // With other thresholds what is kept has other incidents, and what is older has not.
    let other = Thresholds { failures: 50, ..THRESHOLDS };
    for site in ["shop", "long"] {
        log.append(0, seen(site, "here", -2_000, f, other));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let changed = stored_incidents(&mut database.client());
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!((changed[0].from, changed[0].to), (old(&before)[0].from, Some(instant(-2 * DAY).as_second())));
    assert_eq!(changed[1], old(&before)[1]);

    // The location that was renamed is retired, and the long one's end comes late.
    store::retire_location(&mut database.client(), "kept").unwrap();
    log.append(0, seen("long", "here", -1_000, s, other));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(stored_incidents(&mut database.client()), changed);
}

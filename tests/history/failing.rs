//! What cannot be derived is set aside, stops nothing else, and is tried again.

use std::time::Duration;

use webmon::config::Retention;
use webmon::record::Outcome;
use webmon::store::{self, RolledUp};

use crate::common::{DAY, LONG, TWO_DAYS, config, roll_up, stored_incidents};
use crate::support::log::Log;
use crate::support::{database, instant, result, value};

#[test]
fn one_bad_hour_day_or_site_never_stops_the_others() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for site in 0..40 {
        for n in 0..2 {
            log.append(0, value(result(&format!("site-{site:02}"), -DAY + n, Outcome::Failure)));
            log.append(0, value(result(&format!("site-{site:02}"), -2 * DAY + n, Outcome::Success)));
        }
        log.append(0, value(result(&format!("site-{site:02}"), -3 * DAY, Outcome::Success)));
    }
    log.store(&config).unwrap();
    let mut client = database.client();
    // The hour of two days ago, the day three days ago, and the incidents of one site.
    client
        .batch_execute(&format!(
            "ALTER TABLE webmon.site_hours ADD CONSTRAINT bad CHECK (hour <> '{}');
             ALTER TABLE webmon.site_days ADD CONSTRAINT bad CHECK (day <> '{}');
             ALTER TABLE webmon.site_incidents ADD CONSTRAINT bad CHECK (site_id <> 17);",
            instant(-2 * DAY),
            instant(-3 * DAY).strftime("%F"),
        ))
        .unwrap();
    let key =
        client.query_one("SELECT key FROM webmon.sites WHERE site_id = 17", &[]).unwrap().get::<_, String>(0);
    let done = roll_up(&database);
    assert_eq!((done.hours, done.days, done.sites, done.set_aside), (2, 1, 39, 3));
    assert_eq!(stored_incidents(&mut client).len(), 39);
    let named = store::set_aside(&mut client).unwrap();
    let mut names: Vec<_> = named.iter().map(|aside| (aside.what.as_str(), aside.which.as_str())).collect();
    names.sort();
    let (hour, day) = (instant(-2 * DAY).to_string(), instant(-3 * DAY).strftime("%F").to_string());
    assert_eq!(names, [("day", day.as_str()), ("hour", hour.as_str()), ("incidents", key.as_str())]);
    assert!(named.iter().all(|aside| aside.attempts == 1 && aside.error.contains("\"bad\"")), "{named:?}");

    // Not at once again, and later after a longer pause.
    assert_eq!(roll_up(&database), RolledUp::default());
    client.batch_execute("UPDATE webmon.set_aside SET again_at = now()").unwrap();
    assert_eq!(roll_up(&database), RolledUp { set_aside: 3, ..RolledUp::default() });
    let pause = "SELECT min(extract(epoch FROM again_at - failed_at))::bigint FROM webmon.set_aside";
    assert_eq!((database.number(pause), store::set_aside(&mut client).unwrap()[0].attempts), (20, 2));
    // Its results are not let go before it is derived.
    assert!(
        !store::retain(&mut client, &Retention { results: Duration::from_secs(86_400), ..TWO_DAYS }, LONG)
            .unwrap()
            .again
    );
    let kept = format!("SELECT count(*) FROM webmon.check_results WHERE scheduled_at < '{}'", instant(-DAY));
    assert_eq!(database.number(&kept), 80);

    // Mended, it is forgotten.
    client
        .batch_execute(
            "ALTER TABLE webmon.site_hours DROP CONSTRAINT bad; ALTER TABLE webmon.site_days DROP CONSTRAINT bad;
             ALTER TABLE webmon.site_incidents DROP CONSTRAINT bad; UPDATE webmon.set_aside SET again_at = now()",
        )
        .unwrap();
    let done = roll_up(&database);
    assert_eq!((done.hours, done.days, done.sites, done.set_aside), (1, 2, 40, 0));
    assert_eq!(store::set_aside(&mut client).unwrap(), []);
    assert_eq!(stored_incidents(&mut client).len(), 40);
}

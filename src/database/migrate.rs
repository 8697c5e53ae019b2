//! Brings the database's schema to this program's version: numbered files, each applied once, in order.
//!
//! Storing goes on meanwhile. A migration waits for a lock for [`LOCK_TIMEOUT`] at most, because others that need the
//! lock wait behind it. A program goes on with a newer schema if that schema says that it can.

use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;

use super::error::DatabaseError;

/// One step of the schema.
struct Migration {
    name: &'static str,
    /// What runs in one transaction, which also records that it was done.
    sql: &'static str,
    /// Statements that cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`. They run afterwards, one by
    /// one. If one of them is cut off, all run again, so each must allow that: drop the index if it exists, then create
    /// it.
    outside: &'static [&'static str],
    /// The oldest version of the schema whose programs can go on with this one.
    readable_from: i32,
}

/// The migrations, oldest first; their version is their place, from 1 on.
const MIGRATIONS: &[Migration] = &[FIRST];
const FIRST: Migration = Migration {
    name: "0001_schema",
    sql: include_str!("../../sql/migrations/0001_schema.sql"),
    outside: &[],
    readable_from: 1,
};

/// The advisory lock that keeps two migrations apart. Any number will do, as long as nobody else uses it.
const LOCK: i64 = 0x7765_626d_6f6e;
/// How long a migration waits for a lock, and makes others wait behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two tries, and for how long it tries.
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Applies the missing migrations, each in a transaction, and returns the names of those that it applied. Any number of
/// programs may call it at once: one works, the others wait and find nothing left to do. It finishes a migration that
/// was stopped in the middle. If the schema is newer, and says that this program can go on with it, nothing is done.
///
/// The connection should have a long [`Connector::patience`](super::Connector::patience), because a statement may take
/// hours if there is much to change. Connect directly, not through a pooler that assigns connections per transaction.
///
/// # Errors
/// [`DatabaseError::Schema`] if the database is too new for this program; [`DatabaseError::Statement`], also if for a
/// minute another program was migrating, or had locked what was to be changed.
pub fn migrate(client: &mut Client) -> Result<Vec<&'static str>, DatabaseError> {
    apply(client, MIGRATIONS, PATIENCE)
}

/// The outcome of one transaction of [`apply`].
enum Advance {
    Applied(&'static str),
    /// The statements of this version that cannot run in a transaction must still be run.
    Outside(i32),
    UpToDate,
}

fn apply(
    client: &mut Client,
    migrations: &'static [Migration],
    patience: Duration,
) -> Result<Vec<&'static str>, DatabaseError> {
    let mut applied = Vec::new();
    let mut blocked_since = None;
    loop {
        let step = match next_step(client, migrations) {
            // It waited in vain for a lock, or for another migration.
            Err(DatabaseError::Statement { doing, cause }) if may_pass(&cause) => {
                let since = *blocked_since.get_or_insert_with(Instant::now);
                let error = DatabaseError::Statement { doing, cause };
                if since.elapsed() >= patience {
                    return Err(error);
                }
                log::warn!(error = error.to_string(); "another session is in the way of the migration: trying again");
                std::thread::sleep(PAUSE);
                continue;
            }
            step => step?,
        };
        match step {
            Advance::Applied(name) => applied.push(name),
            Advance::Outside(version) => match finish(client, migrations, version)? {
                true => {}
                false => {
                    let since = *blocked_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= patience {
                        let problem =
                            format!("another program is still at migration {version}: migrate again later");
                        return Err(DatabaseError::Schema(problem));
                    }
                    std::thread::sleep(PAUSE);
                    continue;
                }
            },
            Advance::UpToDate => return Ok(applied),
        }
        blocked_since = None;
    }
}

fn may_pass(error: &postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// Applies the next migration that is missing.
fn next_step(client: &mut Client, migrations: &'static [Migration]) -> Result<Advance, DatabaseError> {
    let failed = DatabaseError::statement;
    let mut transaction = client.transaction().map_err(failed("cannot migrate"))?;
    let lock_timeout = format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis());
    transaction.batch_execute(&lock_timeout).map_err(failed("cannot set up a transaction"))?;
    // This lock is held until the transaction ends.
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .map_err(failed("cannot wait for another migration"))?;
    transaction
        .batch_execute(
            // CREATE SCHEMA IF NOT EXISTS needs the right to create one even if it exists.
            "DO $$ BEGIN IF to_regnamespace('webmon') IS NULL THEN CREATE SCHEMA webmon; END IF; END $$;
             CREATE TABLE IF NOT EXISTS webmon.migrations (
                 version integer NOT NULL,
                 name text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now(),
                 finished_at timestamptz,
                 readable_from integer NOT NULL,
                 CONSTRAINT migrations_pkey PRIMARY KEY (version),
                 CONSTRAINT migrations_readable_check CHECK (readable_from > 0)
             );",
        )
        .map_err(failed("cannot create the schema webmon"))?;
    let row = transaction
        .query_one(
            "SELECT coalesce(max(version), 0), coalesce(max(readable_from), 0), \
                    min(version) FILTER (WHERE finished_at IS NULL) \
             FROM webmon.migrations",
            &[],
        )
        .map_err(failed("cannot read the schema's version"))?;
    let (current, readable_from, unfinished): (i32, i32, Option<i32>) = (row.get(0), row.get(1), row.get(2));
    let known = migrations.len() as i32;
    refuse_unreadable(current, readable_from, known)?;
    if let Some(version) = unfinished.filter(|version| *version <= known) {
        return Ok(Advance::Outside(version));
    }
    if current > known {
        log::info!(current, known; "the schema is newer than this program, which can go on with it: nothing to migrate");
        return Ok(Advance::UpToDate);
    }
    let step = match migrations.get(current.max(0) as usize) {
        None => {
            // This is done every time, because an administrator may have created the roles since.
            transaction
                .batch_execute(include_str!("../../sql/grants.sql"))
                .map_err(failed("cannot grant rights to the roles"))?;
            Advance::UpToDate
        }
        Some(Migration { name, sql, outside, readable_from }) => {
            log::info!(migration = *name; "migrating");
            transaction.batch_execute(sql).map_err(failed("cannot apply a migration"))?;
            transaction
                .execute(
                    "INSERT INTO webmon.migrations (version, name, readable_from, finished_at) \
                     VALUES ($1, $2, $3, CASE WHEN $4 THEN now() END)",
                    &[&(current + 1), name, readable_from, &outside.is_empty()],
                )
                .map_err(failed("cannot record a migration"))?;
            Advance::Applied(name)
        }
    };
    transaction.commit().map_err(failed("cannot commit the migration"))?;
    Ok(step)
}

/// Runs the statements of a migration that cannot run in a transaction. Returns false if another program runs them.
fn finish(client: &mut Client, migrations: &[Migration], version: i32) -> Result<bool, DatabaseError> {
    let failed = || DatabaseError::statement("cannot finish a migration");
    // The lock is the session's, because there is no transaction to hold it.
    let is_ours: bool =
        client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).map_err(failed())?.get(0);
    if !is_ours {
        return Ok(false);
    }
    let outcome = finish_locked(client, migrations, version);
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).map_err(failed())?;
    outcome.map(|()| true)
}

fn finish_locked(client: &mut Client, migrations: &[Migration], version: i32) -> Result<(), DatabaseError> {
    let failed = || DatabaseError::statement("cannot finish a migration");
    let sql = "SELECT finished_at IS NOT NULL FROM webmon.migrations WHERE version = $1";
    if client.query_one(sql, &[&version]).map_err(failed())?.get(0) {
        return Ok(());
    }
    if let Some(Migration { name, outside, .. }) = migrations.get(version as usize - 1) {
        log::info!(migration = *name; "finishing a migration, while storing goes on");
        for statement in *outside {
            client.batch_execute(statement).map_err(failed())?;
        }
    }
    client
        .execute("UPDATE webmon.migrations SET finished_at = now() WHERE version = $1", &[&version])
        .map(drop)
        .map_err(failed())
}

/// Makes sure that this program can work with the schema: it is the one that the program was built for, or a newer one
/// that says that the program can use it.
///
/// # Errors
/// [`DatabaseError::Schema`] says what to do; [`DatabaseError::Statement`].
pub fn check_schema(client: &mut Client) -> Result<(), DatabaseError> {
    check(client, MIGRATIONS)
}

fn check(client: &mut Client, migrations: &[Migration]) -> Result<(), DatabaseError> {
    let failed = DatabaseError::statement;
    let exists: bool = client
        .query_one("SELECT to_regclass('webmon.migrations') IS NOT NULL", &[])
        .map_err(failed("cannot look for the schema webmon"))?
        .get(0);
    let (current, readable_from): (i32, i32) = match exists {
        false => (0, 0),
        true => {
            let sql =
                "SELECT coalesce(max(version), 0), coalesce(max(readable_from), 0) FROM webmon.migrations";
            let row = client.query_one(sql, &[]).map_err(failed("cannot read the schema's version"))?;
            (row.get(0), row.get(1))
        }
    };
    let known = migrations.len() as i32;
    refuse_unreadable(current, readable_from, known)?;
    if current < known {
        return Err(DatabaseError::Schema(format!(
            "the database's schema is at version {current}, this program needs {known}: run \"webmon-store migrate\""
        )));
    }
    Ok(())
}

fn refuse_unreadable(current: i32, readable_from: i32, known: i32) -> Result<(), DatabaseError> {
    if current > known && readable_from > known {
        return Err(DatabaseError::Schema(format!(
            "the database's schema is at version {current}, for programs of {readable_from} or later; this program knows \
             only {known}: upgrade webmon-store"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use postgres::NoTls;

    use super::*;

    const NO_PATIENCE: Duration = Duration::ZERO;
    /// It only adds something.
    const ADDED: Migration = Migration {
        name: "0002_added",
        sql: "CREATE TABLE webmon.added (n integer)",
        outside: &[],
        readable_from: 1,
    };

    /// A database that is dropped in the end.
    struct Database {
        server: String,
        name: String,
    }

    impl Database {
        fn new(name: &str) -> Option<Database> {
            let Ok(server) = std::env::var("WEBMON_TEST_POSTGRES") else {
                assert!(std::env::var("CI").is_err(), "WEBMON_TEST_POSTGRES is not set");
                eprintln!("NOT TESTED: {name} needs WEBMON_TEST_POSTGRES: run ./dev/test");
                return None;
            };
            let name = format!("webmon_migrate_{name}_{}", std::process::id());
            let mut client = Client::connect(&server, NoTls).unwrap();
            client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
            Some(Database { server, name })
        }

        fn client(&self) -> Client {
            let mut config: postgres::Config = self.server.parse().unwrap();
            config.dbname(&self.name).connect(NoTls).unwrap()
        }
    }

    impl Drop for Database {
        fn drop(&mut self) {
            if let Ok(mut client) = Client::connect(&self.server, NoTls) {
                let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
            }
        }
    }

    #[test]
    fn an_older_program_goes_on_with_a_newer_schema_that_says_so() {
        const OLD: &[Migration] = &[FIRST];
        const NEW: &[Migration] = &[FIRST, ADDED];
        const NEWEST: &[Migration] = &[
            FIRST,
            ADDED,
            Migration {
                name: "0003_gone",
                sql: "ALTER TABLE webmon.added RENAME TO other",
                outside: &[],
                readable_from: 3,
            },
        ];
        let Some(database) = Database::new("older") else { return };
        let mut client = database.client();
        assert_eq!(apply(&mut client, OLD, NO_PATIENCE).unwrap(), ["0001_schema"]);
        check(&mut client, NEW).unwrap_err();
        assert_eq!(apply(&mut client, NEW, NO_PATIENCE).unwrap(), ["0002_added"]);
        check(&mut client, OLD).unwrap();
        assert!(apply(&mut client, OLD, NO_PATIENCE).unwrap().is_empty());
        check(&mut client, NEW).unwrap();
        assert_eq!(apply(&mut client, NEWEST, NO_PATIENCE).unwrap(), ["0003_gone"]);
        let expected = "the database's schema is at version 3, for programs of 3 or later; this program knows only 1: \
                        upgrade webmon-store";
        assert_eq!(check(&mut client, OLD).unwrap_err().to_string(), expected);
        assert_eq!(apply(&mut client, OLD, NO_PATIENCE).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_step_outside_of_transactions_that_was_cut_off_is_done_anew() {
        const INDEXED: &[Migration] = &[
            FIRST,
            Migration {
                name: "0002_indexed",
                sql: "CREATE TABLE webmon.numbers (n integer); INSERT INTO webmon.numbers VALUES (1), (1)",
                outside: &[
                    "DROP INDEX CONCURRENTLY IF EXISTS webmon.numbers_key",
                    "CREATE UNIQUE INDEX CONCURRENTLY numbers_key ON webmon.numbers (n)",
                ],
                readable_from: 1,
            },
            ADDED,
        ];
        let Some(database) = Database::new("outside") else { return };
        let mut client = database.client();
        apply(&mut client, INDEXED, NO_PATIENCE).unwrap_err();
        let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'webmon.numbers_key'::regclass";
        let is_valid = |client: &mut Client| -> bool { client.query_one(valid, &[]).unwrap().get(0) };
        assert!(!is_valid(&mut client), "what is left of it is of no use");
        // What works with the schema does so meanwhile, but what comes after it waits.
        check(&mut client, &INDEXED[..2]).unwrap();
        check(&mut client, INDEXED).unwrap_err();

        client.batch_execute("DELETE FROM webmon.numbers").unwrap();
        assert_eq!(apply(&mut client, INDEXED, NO_PATIENCE).unwrap(), ["0002_added"]);
        assert!(is_valid(&mut client));
        let unfinished = "SELECT count(*) FROM webmon.migrations WHERE finished_at IS NULL";
        assert_eq!(client.query_one(unfinished, &[]).unwrap().get::<_, i64>(0), 0);
        check(&mut client, INDEXED).unwrap();
    }

    #[test]
    fn a_migration_that_waits_for_a_lock_holds_nobody_up_for_long() {
        const CHANGED: &[Migration] = &[
            FIRST,
            Migration {
                name: "0002_changed",
                sql: "ALTER TABLE webmon.sites ADD COLUMN n integer",
                outside: &[],
                readable_from: 1,
            },
        ];
        let Some(database) = Database::new("lock") else { return };
        let mut client = database.client();
        apply(&mut client, &CHANGED[..1], NO_PATIENCE).unwrap();
        let mut reader = database.client();
        let mut transaction = reader.transaction().unwrap();
        transaction.execute("SELECT FROM webmon.sites", &[]).unwrap();
        std::thread::scope(|scope| {
            let migration = scope.spawn(|| apply(&mut client, CHANGED, PATIENCE));
            let mut writer = database.client();
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' \
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            let begun = Instant::now();
            while writer.query_one(waits, &[]).unwrap().get::<_, i64>(0) == 0 {
                assert!(begun.elapsed() < PATIENCE, "in vain: the migration waits");
                std::thread::park_timeout(Duration::from_millis(20));
            }
            let begun = Instant::now();
            writer
                .batch_execute("SET statement_timeout = '20s'; INSERT INTO webmon.sites (key) VALUES ('a')")
                .unwrap();
            assert!(begun.elapsed() < LOCK_TIMEOUT * 2, "{:?}", begun.elapsed());
            transaction.commit().unwrap();
            assert_eq!(migration.join().unwrap().unwrap(), ["0002_changed"]);
        });
    }
}

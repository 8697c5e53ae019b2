//! Brings the database's schema to this program's version: numbered files, each applied once, in order.

use postgres::Client;

use super::StoreError;

/// The migrations, oldest first; their version is their place, from 1 on.
const MIGRATIONS: &[(&str, &str)] = &[("0001_schema", include_str!("../../sql/migrations/0001_schema.sql"))];

/// What keeps two migrations apart (any number will do, as long as nobody else takes it).
const LOCK: i64 = 0x7765_626d_6f6e;

/// Applies what is missing, in one transaction, and returns the names of what it applied. Any number of
/// programs may call it at once: one works, the others wait and find nothing left to do.
///
/// # Errors
/// [`StoreError::Schema`] when the database is newer than this program; [`StoreError::Database`].
pub fn migrate(client: &mut Client) -> Result<Vec<&'static str>, StoreError> {
    let failed = StoreError::database;
    let mut transaction = client.transaction().map_err(failed("cannot migrate"))?;
    // Held until the transaction ends, so it works behind a pooler too.
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .map_err(failed("cannot wait for another migration"))?;
    transaction
        .batch_execute(
            // IF NOT EXISTS would ask for the right to create one where there is one.
            "DO $$ BEGIN IF to_regnamespace('webmon') IS NULL THEN CREATE SCHEMA webmon; END IF; END $$;
             CREATE TABLE IF NOT EXISTS webmon.migrations (
                 version integer NOT NULL,
                 name text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now(),
                 CONSTRAINT migrations_pkey PRIMARY KEY (version)
             );",
        )
        .map_err(failed("cannot create the schema webmon"))?;
    let current: i32 = transaction
        .query_one("SELECT coalesce(max(version), 0) FROM webmon.migrations", &[])
        .map_err(failed("cannot read the schema's version"))?
        .get(0);
    refuse_newer(current)?;

    let mut applied = Vec::new();
    for (version, (name, sql)) in (1..).zip(MIGRATIONS).skip(current as usize) {
        log::info!(migration = *name; "migrating");
        transaction.batch_execute(sql).map_err(failed("cannot apply a migration"))?;
        transaction
            .execute("INSERT INTO webmon.migrations (version, name) VALUES ($1, $2)", &[&version, name])
            .map_err(failed("cannot record a migration"))?;
        applied.push(*name);
    }
    // Again every time: an administrator may have made the roles since.
    transaction
        .batch_execute(include_str!("../../sql/grants.sql"))
        .map_err(failed("cannot grant rights to the roles"))?;
    transaction.commit().map_err(failed("cannot commit the migration"))?;
    Ok(applied)
}

/// Makes sure that the schema is the one this program was built for.
///
/// # Errors
/// [`StoreError::Schema`] says what to do; [`StoreError::Database`].
pub fn check_schema(client: &mut Client) -> Result<(), StoreError> {
    let failed = StoreError::database;
    let exists: bool = client
        .query_one("SELECT to_regclass('webmon.migrations') IS NOT NULL", &[])
        .map_err(failed("cannot look for the schema webmon"))?
        .get(0);
    let current: i32 = match exists {
        false => 0,
        true => client
            .query_one("SELECT coalesce(max(version), 0) FROM webmon.migrations", &[])
            .map_err(failed("cannot read the schema's version"))?
            .get(0),
    };
    refuse_newer(current)?;
    if (current as usize) < MIGRATIONS.len() {
        return Err(StoreError::Schema(format!(
            "the database's schema is at version {current}, this program needs {}: run \"webmon-store migrate\"",
            MIGRATIONS.len()
        )));
    }
    Ok(())
}

fn refuse_newer(current: i32) -> Result<(), StoreError> {
    if current as usize > MIGRATIONS.len() {
        return Err(StoreError::Schema(format!(
            "the database's schema is at version {current}, this program knows only {}: upgrade webmon-store",
            MIGRATIONS.len()
        )));
    }
    Ok(())
}

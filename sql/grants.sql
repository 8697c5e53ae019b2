-- Roles and rights. Every `migrate` grants them again, so that they cover what was added:
--   webmon_owner   owns everything; the user who migrates is a member, or becomes one
--   webmon_writer  may do what webmon-store run, the jobs and the retention need
--   webmon_reader  reads tables and views, and changes nothing
-- Nobody can log in as one of these roles. Make users members of them. If the user who migrates may not create roles, the
-- missing ones are left out with a notice, and everything works as that user.
DO $$
DECLARE
    name text;
    relation record;
    writes text;
BEGIN
    FOREACH name IN ARRAY ARRAY['webmon_owner', 'webmon_writer', 'webmon_reader'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % is missing and may not be created', name;
            -- Roles belong to all databases of the server, and another one is being migrated.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;

    -- These functions run with the owner's rights. Only a grant lets other roles call them.
    REVOKE ALL ON FUNCTION webmon.ensure_result_partition(date), webmon.drop_result_partition(date),
        webmon.raise_retention_floor(interval), webmon.set_retention_floor(timestamptz, interval),
        webmon.purge_results(timestamptz), webmon.purge_hours(timestamptz) FROM PUBLIC;

    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'webmon_reader') THEN
        GRANT USAGE ON SCHEMA webmon TO webmon_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'webmon_writer') THEN
        GRANT USAGE ON SCHEMA webmon TO webmon_writer;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA webmon TO webmon_writer;
        GRANT EXECUTE ON FUNCTION webmon.ensure_result_partition(date), webmon.drop_result_partition(date),
            webmon.raise_retention_floor(interval), webmon.purge_results(timestamptz), webmon.purge_hours(timestamptz)
            TO webmon_writer;
    END IF;
    FOR relation IN
        SELECT relname, relkind
        FROM pg_catalog.pg_class
        WHERE relnamespace = 'webmon'::regnamespace
          AND relkind IN ('r', 'p', 'v')
          AND NOT relispartition
    LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'webmon_reader') THEN
            EXECUTE format('GRANT SELECT ON webmon.%I TO webmon_reader', relation.relname);
        END IF;
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'webmon_writer');
        writes := CASE
            WHEN relation.relkind = 'v' OR relation.relname IN ('migrations', 'error_types') THEN 'SELECT'
            -- Nothing that is stored here can be deleted. Results go only when their day is dropped.
            WHEN relation.relname IN ('check_results', 'gaps', 'sites', 'site_versions', 'site_certificates', 'locations',
                                      'checkers', 'offset_gaps') THEN 'SELECT, INSERT, UPDATE'
            -- To lock the row, the writer needs the right to update a column. This column can only be true.
            WHEN relation.relname = 'retention' THEN 'SELECT, UPDATE (one)'
            ELSE 'SELECT, INSERT, UPDATE, DELETE' END;
        EXECUTE format('GRANT %s ON webmon.%I TO webmon_writer', writes, relation.relname);
    END LOOP;
END
$$;

-- Everything that the user who migrates has created is handed to webmon_owner. So functions that run with their owner's
-- rights have no more rights than that role. For this, the user must be able to act as webmon_owner. From PostgreSQL 16 on, a
-- user with CREATEROLE is only an administrator of the roles that it creates, and must make itself a full member.
DO $$
DECLARE
    modern constant boolean := current_setting('server_version_num')::integer >= 160000;
    grant_statement constant text := format(
        'GRANT webmon_owner TO %I', current_user) || CASE WHEN modern THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END;
    object record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'webmon_owner') THEN
        RETURN;
    END IF;
    IF NOT pg_has_role(current_user, 'webmon_owner', CASE WHEN modern THEN 'SET' ELSE 'MEMBER' END)
        OR modern AND NOT pg_has_role(current_user, 'webmon_owner', 'USAGE') THEN
        BEGIN
            EXECUTE grant_statement;
        EXCEPTION
            WHEN insufficient_privilege THEN
                IF pg_has_role(current_user, 'webmon_owner', 'MEMBER')
                    OR (SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
                    RAISE insufficient_privilege USING MESSAGE = format(
                        'user "%s" may not act as webmon_owner, who must own the schema: have an administrator run "%s", '
                        'then migrate again', current_user, grant_statement);
                END IF;
                RAISE NOTICE 'what was migrated stays with %: %', current_user, SQLERRM;
                RETURN;
        END;
    END IF;
    IF (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'webmon') <> 'webmon_owner'::regrole THEN
        ALTER SCHEMA webmon OWNER TO webmon_owner;
    END IF;
    FOR object IN
        SELECT format('ALTER TABLE webmon.%I OWNER TO webmon_owner', relname) AS statement
        FROM pg_catalog.pg_class
        WHERE relnamespace = 'webmon'::regnamespace
          AND relkind IN ('r', 'p')
          AND relowner <> 'webmon_owner'::regrole
        UNION ALL
        SELECT format('ALTER VIEW webmon.%I OWNER TO webmon_owner', relname)
        FROM pg_catalog.pg_class
        WHERE relnamespace = 'webmon'::regnamespace
          AND relkind = 'v'
          AND relowner <> 'webmon_owner'::regrole
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO webmon_owner', oid::regprocedure)
        FROM pg_catalog.pg_proc
        WHERE pronamespace = 'webmon'::regnamespace
          AND proowner <> 'webmon_owner'::regrole
    LOOP
        EXECUTE object.statement;
    END LOOP;
END
$$;

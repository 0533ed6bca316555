"""Make a test's PostgreSQL database as new for the next one: a copy of the template costs ten times as much.

`PREPARE` is run once in the template, so that each copy of it brings the function `harness.reset()` along.
"""

from __future__ import annotations

RESET = "SELECT harness.reset()"
MOST_BYTES = 1 << 19  # of a table: deleted rows are still read past, so a database with more is given up

PREPARE = f"""
CREATE SCHEMA harness;

-- What a test may have changed beside rows; the planner's statistics too, which decide how statements are executed.
CREATE VIEW harness.shape AS SELECT md5(string_agg(part, ',' ORDER BY part)) AS shape FROM (
    SELECT concat_ws(' ', c.relname, c.relkind, c.reloptions, a.attname, a.atttypid, a.attnotnull) AS part
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', conname, conrelid, convalidated) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', indexrelid, indisvalid) FROM pg_index
    UNION ALL SELECT concat_ws(' ', tgname, tgrelid, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', starelid, staattnum) FROM pg_statistic s JOIN pg_class c ON c.oid = s.starelid
              WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
              WHERE d.datname = current_database()
) AS parts;

CREATE FUNCTION harness.reset() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    IF (SELECT shape FROM harness.shape) <> (SELECT shape FROM harness.first_shape) OR EXISTS (
        SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND pg_relation_size(oid) > {MOST_BYTES}
    ) THEN
        RETURN false;
    END IF;
    SET LOCAL session_replication_role = replica;  -- no foreign key asks for an order
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                AND pg_relation_size(oid) > 0 LOOP
        EXECUTE format('DELETE FROM public.%I', name);
    END LOOP;
    FOR name IN SELECT substr(relname, 6) FROM pg_class
                WHERE relnamespace = 'harness'::regnamespace AND relname LIKE 'seed\\_%' LOOP
        EXECUTE format('INSERT INTO public.%I TABLE harness.%I', name, 'seed_' || name);
    END LOOP;
    RETURN true;
END $$;

DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                AND pg_relation_size(oid) > 0 LOOP
        EXECUTE format('CREATE TABLE harness.%I AS TABLE public.%I', 'seed_' || name, name);
    END LOOP;
END $$;
CREATE TABLE harness.first_shape AS TABLE harness.shape;
"""

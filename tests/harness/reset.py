"""Make a test's PostgreSQL database as new for the next one: a copy of the template costs ten times as much.

`PREPARE` is run once in the template, so that each copy of it brings the function `harness.reset()` along.
"""

from __future__ import annotations

RESET = "SELECT harness.reset()"
PREPARE = r"""
CREATE SCHEMA harness;

-- Whether a test has changed more than rows.
CREATE TABLE harness.change (command text);
CREATE FUNCTION harness.note_change() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO harness.change VALUES (tg_tag);
END $$;

CREATE FUNCTION harness.reset() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    IF EXISTS (SELECT FROM harness.change) OR EXISTS (
        SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = current_database()
    ) OR EXISTS (  -- the planner knows of rows that were there
        SELECT FROM pg_statistic s JOIN pg_class c ON c.oid = s.starelid WHERE relnamespace = 'public'::regnamespace
    ) OR EXISTS (
        SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND pg_relation_size(oid) > 500000  -- bytes: deleted rows are still read past
    ) THEN
        RETURN false;
    END IF;
    SET LOCAL session_replication_role = replica;  -- no foreign key asks for an order
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                AND pg_relation_size(oid) > 0 LOOP
        EXECUTE format('DELETE FROM public.%I', name);
    END LOOP;
    FOR name IN SELECT substr(relname, 6) FROM pg_class
                WHERE relnamespace = 'harness'::regnamespace AND relname LIKE 'seed\_%' LOOP
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
CREATE EVENT TRIGGER note_change ON ddl_command_end EXECUTE FUNCTION harness.note_change();
"""

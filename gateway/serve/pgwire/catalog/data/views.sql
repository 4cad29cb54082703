-- The views of pg_catalog and information_schema, over the tables of pg_catalog.
-- pg.this has one row: the database and the user. Keys are shown as their owner sees them.

CREATE MACRO pg.yes_no(held) AS CASE WHEN held THEN 'YES' ELSE 'NO' END;

CREATE VIEW pg.shown AS
  SELECT c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relpersistence, n.nspname,
    t.database, t.username
  FROM pg.pg_class c JOIN pg.pg_namespace n ON n.oid = c.relnamespace, pg.this t;

CREATE VIEW pg.pg_tables AS
  SELECT n.nspname AS schemaname, c.relname AS tablename, r.rolname AS tableowner,
    NULL::VARCHAR AS tablespace, c.relhasindex AS hasindexes, c.relhasrules AS hasrules,
    c.relhastriggers AS hastriggers, c.relrowsecurity AS rowsecurity
  FROM pg.pg_class c JOIN pg.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg.pg_roles r ON r.oid = c.relowner
  WHERE c.relkind IN ('r', 'p');

CREATE VIEW pg.pg_views AS
  SELECT n.nspname AS schemaname, c.relname AS viewname, r.rolname AS viewowner,
    NULL::VARCHAR AS definition
  FROM pg.pg_class c JOIN pg.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg.pg_roles r ON r.oid = c.relowner
  WHERE c.relkind = 'v';

CREATE VIEW pg.pg_indexes AS
  SELECT n.nspname AS schemaname, c.relname AS tablename, i.relname AS indexname,
    NULL::VARCHAR AS tablespace, udf_index_definition(i.oid, 0::INTEGER, '') AS indexdef
  FROM pg.pg_index x JOIN pg.pg_class c ON c.oid = x.indrelid
    JOIN pg.pg_class i ON i.oid = x.indexrelid
    LEFT JOIN pg.pg_namespace n ON n.oid = c.relnamespace;

CREATE VIEW pg.pg_user AS
  SELECT rolname AS usename, oid AS usesysid, rolcreatedb AS usecreatedb, rolsuper AS usesuper,
    rolreplication AS userepl, rolbypassrls AS usebypassrls, rolpassword AS passwd,
    rolvaliduntil AS valuntil, rolconfig AS useconfig
  FROM pg.pg_roles WHERE rolcanlogin;

CREATE VIEW info.information_schema_catalog_name AS
  SELECT database AS catalog_name FROM pg.this;

CREATE VIEW info.schemata AS
  SELECT t.database AS catalog_name, n.nspname AS schema_name, r.rolname AS schema_owner,
    NULL::VARCHAR AS default_character_set_catalog, NULL::VARCHAR AS default_character_set_schema,
    NULL::VARCHAR AS default_character_set_name, NULL::VARCHAR AS sql_path
  FROM pg.pg_namespace n JOIN pg.pg_roles r ON r.oid = n.nspowner, pg.this t;

CREATE VIEW info.tables AS
  SELECT database AS table_catalog, nspname AS table_schema, relname AS table_name,
    CASE relkind WHEN 'r' THEN 'BASE TABLE' WHEN 'v' THEN 'VIEW' END AS table_type,
    NULL::VARCHAR AS self_referencing_column_name, NULL::VARCHAR AS reference_generation,
    NULL::VARCHAR AS user_defined_type_catalog, NULL::VARCHAR AS user_defined_type_schema,
    NULL::VARCHAR AS user_defined_type_name, pg.yes_no(relkind = 'r') AS is_insertable_into,
    'NO' AS is_typed, NULL::VARCHAR AS commit_action
  FROM pg.shown WHERE relkind IN ('r', 'v');

CREATE VIEW info.views AS
  SELECT database AS table_catalog, nspname AS table_schema, relname AS table_name,
    NULL::VARCHAR AS view_definition, 'NONE' AS check_option, 'NO' AS is_updatable,
    'NO' AS is_insertable_into, 'NO' AS is_trigger_updatable, 'NO' AS is_trigger_deletable,
    'NO' AS is_trigger_insertable_into
  FROM pg.shown WHERE relkind = 'v';

CREATE VIEW info.columns AS
  SELECT s.database AS table_catalog, s.nspname AS table_schema, s.relname AS table_name,
    a.attname AS column_name, a.attnum::INTEGER AS ordinal_position,
    NULL::VARCHAR AS column_default, pg.yes_no(NOT a.attnotnull) AS is_nullable,
    CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN 'ARRAY'
      ELSE udf_format_type(a.atttypid, -2::INTEGER, '') END AS data_type,
    CASE WHEN a.atttypid IN (1042, 1043) AND a.atttypmod <> -1 THEN a.atttypmod - 4 END::INTEGER
      AS character_maximum_length,
    CASE WHEN a.atttypid IN (25, 1042, 1043) THEN
      CASE WHEN a.atttypmod = -1 THEN 1073741824 ELSE (a.atttypmod - 4) * 4 END END::INTEGER
      AS character_octet_length,
    CASE a.atttypid WHEN 21 THEN 16 WHEN 23 THEN 32 WHEN 20 THEN 64 WHEN 700 THEN 24
      WHEN 701 THEN 53 WHEN 1700 THEN
        CASE WHEN a.atttypmod <> -1 THEN ((a.atttypmod - 4) >> 16) & 65535 END END::INTEGER
      AS numeric_precision,
    CASE WHEN a.atttypid IN (21, 23, 20, 700, 701) THEN 2 WHEN a.atttypid = 1700 THEN 10
      END::INTEGER AS numeric_precision_radix,
    CASE WHEN a.atttypid IN (21, 23, 20) THEN 0
      WHEN a.atttypid = 1700 AND a.atttypmod <> -1 THEN (a.atttypmod - 4) & 65535 END::INTEGER
      AS numeric_scale,
    CASE WHEN a.atttypid = 1082 THEN 0
      WHEN a.atttypid IN (1083, 1114, 1184, 1266, 1186) THEN 6 END::INTEGER AS datetime_precision,
    NULL::VARCHAR AS interval_type, NULL::INTEGER AS interval_precision,
    NULL::VARCHAR AS character_set_catalog, NULL::VARCHAR AS character_set_schema,
    NULL::VARCHAR AS character_set_name,
    CASE WHEN l.collname <> 'default' THEN s.database END AS collation_catalog,
    CASE WHEN l.collname <> 'default' THEN 'pg_catalog' END AS collation_schema,
    CASE WHEN l.collname <> 'default' THEN l.collname END AS collation_name,
    NULL::VARCHAR AS domain_catalog, NULL::VARCHAR AS domain_schema, NULL::VARCHAR AS domain_name,
    s.database AS udt_catalog, tn.nspname AS udt_schema, t.typname AS udt_name,
    NULL::VARCHAR AS scope_catalog, NULL::VARCHAR AS scope_schema, NULL::VARCHAR AS scope_name,
    NULL::INTEGER AS maximum_cardinality, a.attnum::VARCHAR AS dtd_identifier,
    'NO' AS is_self_referencing, 'NO' AS is_identity, NULL::VARCHAR AS identity_generation,
    NULL::VARCHAR AS identity_start, NULL::VARCHAR AS identity_increment,
    NULL::VARCHAR AS identity_maximum, NULL::VARCHAR AS identity_minimum,
    'NO' AS identity_cycle, 'NEVER' AS is_generated, NULL::VARCHAR AS generation_expression,
    pg.yes_no(s.relkind = 'r') AS is_updatable
  FROM pg.pg_attribute a JOIN pg.shown s ON s.oid = a.attrelid
    JOIN pg.pg_type t ON t.oid = a.atttypid JOIN pg.pg_namespace tn ON tn.oid = t.typnamespace
    LEFT JOIN pg.pg_collation l ON l.oid = a.attcollation
  WHERE a.attnum > 0 AND NOT a.attisdropped AND s.relkind IN ('r', 'v', 'f', 'p');

CREATE VIEW info.element_types AS
  SELECT s.database AS object_catalog, s.nspname AS object_schema, s.relname AS object_name,
    'TABLE' AS object_type, a.attnum::VARCHAR AS collection_type_identifier,
    udf_format_type(t.typelem, -2::INTEGER, '') AS data_type,
    NULL::INTEGER AS character_maximum_length, NULL::INTEGER AS character_octet_length,
    NULL::VARCHAR AS character_set_catalog, NULL::VARCHAR AS character_set_schema,
    NULL::VARCHAR AS character_set_name, NULL::VARCHAR AS collation_catalog,
    NULL::VARCHAR AS collation_schema, NULL::VARCHAR AS collation_name,
    NULL::INTEGER AS numeric_precision, NULL::INTEGER AS numeric_precision_radix,
    NULL::INTEGER AS numeric_scale, NULL::INTEGER AS datetime_precision,
    NULL::VARCHAR AS interval_type, NULL::INTEGER AS interval_precision,
    NULL::VARCHAR AS domain_default, s.database AS udt_catalog, 'pg_catalog' AS udt_schema,
    e.typname AS udt_name, NULL::VARCHAR AS scope_catalog, NULL::VARCHAR AS scope_schema,
    NULL::VARCHAR AS scope_name, NULL::INTEGER AS maximum_cardinality,
    'a' || a.attnum::VARCHAR AS dtd_identifier
  FROM pg.pg_attribute a JOIN pg.shown s ON s.oid = a.attrelid
    JOIN pg.pg_type t ON t.oid = a.atttypid JOIN pg.pg_type e ON e.oid = t.typelem
  WHERE a.attnum > 0 AND t.typlen = -1 AND s.relkind IN ('r', 'v');

CREATE VIEW pg.keys AS
  SELECT t.database, n.nspname, c.oid, c.conname, c.contype, c.conrelid, c.confrelid, c.conindid,
    c.conkey, c.confkey, r.relname, rn.nspname AS relschema
  FROM pg.pg_constraint c JOIN pg.pg_namespace n ON n.oid = c.connamespace
    JOIN pg.pg_class r ON r.oid = c.conrelid
    JOIN pg.pg_namespace rn ON rn.oid = r.relnamespace, pg.this t;

CREATE VIEW pg.required AS
  SELECT s.database, s.nspname, s.relname, a.attname, concat_ws('_', n.oid, s.oid, a.attnum,
    'not_null') AS conname
  FROM pg.pg_attribute a JOIN pg.shown s ON s.oid = a.attrelid
    JOIN pg.pg_namespace n ON n.nspname = s.nspname
  WHERE a.attnotnull AND a.attnum > 0 AND s.relkind = 'r';

CREATE VIEW info.table_constraints AS
  SELECT database AS constraint_catalog, nspname AS constraint_schema, conname AS constraint_name,
    database AS table_catalog, relschema AS table_schema, relname AS table_name,
    CASE contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' WHEN 'f' THEN 'FOREIGN KEY'
      END AS constraint_type,
    'NO' AS is_deferrable, 'NO' AS initially_deferred, 'YES' AS enforced,
    CASE WHEN contype = 'u' THEN 'YES' END AS nulls_distinct
  FROM pg.keys
  UNION ALL
  SELECT database, nspname, conname, database, nspname, relname, 'CHECK', 'NO', 'NO', 'YES', NULL
  FROM pg.required;

CREATE VIEW info.check_constraints AS
  SELECT database AS constraint_catalog, nspname AS constraint_schema, conname AS constraint_name,
    attname || ' IS NOT NULL' AS check_clause
  FROM pg.required;

CREATE VIEW pg.key_places AS
  SELECT *, unnest(conkey) AS place, unnest(range(1, len(conkey) + 1))::INTEGER AS position
  FROM pg.keys;

CREATE VIEW info.key_column_usage AS
  SELECT k.database AS constraint_catalog, k.nspname AS constraint_schema,
    k.conname AS constraint_name, k.database AS table_catalog, k.relschema AS table_schema,
    k.relname AS table_name, a.attname AS column_name, k.position AS ordinal_position,
    CASE WHEN k.contype = 'f' THEN list_position(x.indkey, k.confkey[k.position]) END::INTEGER
      AS position_in_unique_constraint
  FROM pg.key_places k
    JOIN pg.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.place
    LEFT JOIN pg.pg_index x ON x.indexrelid = k.conindid;

CREATE VIEW pg.used AS
  SELECT k.database, k.nspname, k.conname, u.relname, un.nspname AS relschema, u.oid,
    unnest(CASE WHEN k.contype = 'f' THEN k.confkey ELSE k.conkey END) AS place
  FROM pg.keys k
    JOIN pg.pg_class u ON u.oid = CASE WHEN k.contype = 'f' THEN k.confrelid ELSE k.conrelid END
    JOIN pg.pg_namespace un ON un.oid = u.relnamespace;

CREATE VIEW info.constraint_column_usage AS
  SELECT u.database AS table_catalog, u.relschema AS table_schema, u.relname AS table_name,
    a.attname AS column_name, u.database AS constraint_catalog, u.nspname AS constraint_schema,
    u.conname AS constraint_name
  FROM pg.used u JOIN pg.pg_attribute a ON a.attrelid = u.oid AND a.attnum = u.place;

CREATE VIEW info.constraint_table_usage AS
  SELECT DISTINCT database AS table_catalog, relschema AS table_schema, relname AS table_name,
    database AS constraint_catalog, nspname AS constraint_schema, conname AS constraint_name
  FROM pg.used;

CREATE VIEW info.referential_constraints AS
  SELECT k.database AS constraint_catalog, k.nspname AS constraint_schema,
    k.conname AS constraint_name, CASE WHEN u.oid IS NOT NULL THEN k.database END
      AS unique_constraint_catalog,
    u.nspname AS unique_constraint_schema, u.conname AS unique_constraint_name,
    'NONE' AS match_option, 'NO ACTION' AS update_rule, 'NO ACTION' AS delete_rule
  FROM pg.keys k
    LEFT JOIN pg.keys u ON u.conindid = k.conindid AND u.contype <> 'f' AND k.conindid <> 0
  WHERE k.contype = 'f';

CREATE VIEW pg.granted AS
  SELECT oid, 'sqluice' AS grantor, CASE WHEN split_part(entry, '=', 1) = '' THEN 'PUBLIC'
      ELSE split_part(entry, '=', 1) END AS grantee,
    database, username, nspname, relname, letter,
    MAP {'a': 'INSERT', 'r': 'SELECT', 'w': 'UPDATE', 'd': 'DELETE', 'D': 'TRUNCATE',
     'x': 'REFERENCES', 't': 'TRIGGER'}[letter] AS privilege_type,
    pg.yes_no(split_part(entry, '=', 1) = 'sqluice') AS is_grantable
  FROM (
    SELECT *, unnest(string_split(split_part(split_part(entry, '=', 2), '/', 1), '')) AS letter
    FROM (SELECT *, unnest(relacl) AS entry FROM pg.shown WHERE relkind IN ('r', 'v'))
  );

CREATE VIEW info.table_privileges AS
  SELECT grantor, grantee, database AS table_catalog, nspname AS table_schema,
    relname AS table_name, privilege_type, is_grantable,
    pg.yes_no(privilege_type = 'SELECT') AS with_hierarchy
  FROM pg.granted WHERE grantee IN ('PUBLIC', username);

CREATE VIEW info.role_table_grants AS
  SELECT * FROM info.table_privileges WHERE grantee <> 'PUBLIC';

CREATE VIEW info.column_privileges AS
  SELECT g.grantor, g.grantee, g.database AS table_catalog, g.nspname AS table_schema,
    g.relname AS table_name, a.attname AS column_name, g.privilege_type, g.is_grantable
  FROM pg.granted g JOIN pg.pg_attribute a ON a.attrelid = g.oid AND a.attnum > 0
  WHERE g.grantee IN ('PUBLIC', g.username)
    AND g.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES');

CREATE VIEW info.role_column_grants AS
  SELECT * FROM info.column_privileges WHERE grantee <> 'PUBLIC';

CREATE VIEW info.enabled_roles AS SELECT username AS role_name FROM pg.this;

CREATE VIEW info.character_sets AS
  SELECT NULL::VARCHAR AS character_set_catalog, NULL::VARCHAR AS character_set_schema,
    'UTF8' AS character_set_name, 'UCS' AS character_repertoire, 'UTF8' AS form_of_use,
    database AS default_collate_catalog, 'pg_catalog' AS default_collate_schema,
    'ucs_basic' AS default_collate_name
  FROM pg.this;

CREATE VIEW info.collations AS
  SELECT t.database AS collation_catalog, 'pg_catalog' AS collation_schema,
    c.collname AS collation_name, 'NO PAD' AS pad_attribute
  FROM pg.pg_collation c, pg.this t;

-- What a server counts that counts nothing.
CREATE VIEW pg.pg_stat_all_tables AS
  SELECT c.oid AS relid, n.nspname AS schemaname, c.relname, 0::BIGINT AS seq_scan,
    0::BIGINT AS seq_tup_read, CASE WHEN c.relhasindex THEN 0 END::BIGINT AS idx_scan,
    CASE WHEN c.relhasindex THEN 0 END::BIGINT AS idx_tup_fetch,
    0::BIGINT AS n_tup_ins, 0::BIGINT AS n_tup_upd, 0::BIGINT AS n_tup_del,
    0::BIGINT AS n_tup_hot_upd, 0::BIGINT AS n_live_tup, 0::BIGINT AS n_dead_tup,
    0::BIGINT AS n_mod_since_analyze, 0::BIGINT AS n_ins_since_vacuum,
    NULL::TIMESTAMPTZ AS last_vacuum, NULL::TIMESTAMPTZ AS last_autovacuum,
    NULL::TIMESTAMPTZ AS last_analyze, NULL::TIMESTAMPTZ AS last_autoanalyze,
    0::BIGINT AS vacuum_count, 0::BIGINT AS autovacuum_count, 0::BIGINT AS analyze_count,
    0::BIGINT AS autoanalyze_count
  FROM pg.pg_class c JOIN pg.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r';

CREATE VIEW pg.pg_stat_user_tables AS
  SELECT * FROM pg.pg_stat_all_tables
  WHERE schemaname NOT IN ('pg_catalog', 'information_schema');

CREATE VIEW pg.pg_statio_user_tables AS
  SELECT relid, schemaname, relname, 0::BIGINT AS heap_blks_read, 0::BIGINT AS heap_blks_hit,
    CASE WHEN idx_scan IS NOT NULL THEN 0 END::BIGINT AS idx_blks_read,
    CASE WHEN idx_scan IS NOT NULL THEN 0 END::BIGINT AS idx_blks_hit,
    NULL::BIGINT AS toast_blks_read, NULL::BIGINT AS toast_blks_hit,
    NULL::BIGINT AS tidx_blks_read, NULL::BIGINT AS tidx_blks_hit
  FROM pg.pg_stat_user_tables;

CREATE VIEW pg.pg_stat_user_indexes AS
  SELECT c.oid AS relid, i.oid AS indexrelid, n.nspname AS schemaname, c.relname,
    i.relname AS indexrelname, 0::BIGINT AS idx_scan, 0::BIGINT AS idx_tup_read,
    0::BIGINT AS idx_tup_fetch
  FROM pg.pg_index x JOIN pg.pg_class c ON c.oid = x.indrelid
    JOIN pg.pg_class i ON i.oid = x.indexrelid JOIN pg.pg_namespace n ON n.oid = c.relnamespace;

CREATE VIEW pg.pg_stat_database AS
  SELECT oid AS datid, datname, 0::INTEGER AS numbackends, 0::BIGINT AS xact_commit,
    0::BIGINT AS xact_rollback, 0::BIGINT AS blks_read, 0::BIGINT AS blks_hit,
    0::BIGINT AS tup_returned, 0::BIGINT AS tup_fetched, 0::BIGINT AS tup_inserted,
    0::BIGINT AS tup_updated, 0::BIGINT AS tup_deleted, 0::BIGINT AS conflicts,
    0::BIGINT AS temp_files, 0::BIGINT AS temp_bytes, 0::BIGINT AS deadlocks,
    NULL::BIGINT AS checksum_failures, NULL::TIMESTAMPTZ AS checksum_last_failure,
    0::DOUBLE AS blk_read_time, 0::DOUBLE AS blk_write_time, 0::DOUBLE AS session_time,
    0::DOUBLE AS active_time, 0::DOUBLE AS idle_in_transaction_time, 0::BIGINT AS sessions,
    0::BIGINT AS sessions_abandoned, 0::BIGINT AS sessions_fatal, 0::BIGINT AS sessions_killed,
    NULL::TIMESTAMPTZ AS stats_reset
  FROM pg.pg_database;

CREATE VIEW pg.pg_timezone_names AS
  SELECT name, abbrev, utc_offset, is_dst FROM main.pg_timezone_names();

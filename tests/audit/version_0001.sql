BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE audit_chains (
	chain VARCHAR(32) NOT NULL, 
	started_at VARCHAR(32) NOT NULL, 
	host VARCHAR(200) NOT NULL, 
	process INTEGER NOT NULL, 
	genesis VARCHAR(64) NOT NULL, 
	PRIMARY KEY (chain)
);
INSERT INTO "audit_chains" VALUES('9e811e95d1d3414d8c3f168f4415b10e','2026-05-04T03:02:01.000000+00:00','gateway-1',22756,'b1c26d96d3fd5b727f354bbd0d824fd37e290b49761c26795cbaefb30e51e2bd');
CREATE TABLE audit_records (
	chain VARCHAR(32) NOT NULL, 
	sequence BIGINT NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	query_id VARCHAR(64) NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	user_name VARCHAR(200), 
	actor VARCHAR(200), 
	client TEXT, 
	endpoint VARCHAR(40), 
	purpose VARCHAR(200), 
	purpose_was_default BOOLEAN, 
	normalised TEXT, 
	statement_hash VARCHAR(64), 
	products TEXT, 
	columns_read TEXT, 
	policies TEXT, 
	revision VARCHAR(80), 
	decision VARCHAR(80), 
	outcome VARCHAR(20), 
	code VARCHAR(40), 
	row_count BIGINT, 
	byte_count BIGINT, 
	timings TEXT, 
	commitment VARCHAR(64), 
	salt VARCHAR(32), 
	redactable TEXT, 
	previous VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (chain, sequence)
);
INSERT INTO "audit_records" VALUES('9e811e95d1d3414d8c3f168f4415b10e',1,'started','q0','2026-05-04T03:02:01.000000+00:00','nora',NULL,'adbc','flight','network-planning',0,'SELECT count ( * ) FROM operations . departures WHERE carrier = ?','4c48f6cbeb6b67b6639271f0344aeca2dd3acfc5402698e999d60c79aef2b41f','["operations.departures"]','["operations.departures.flights.carrier"]','["operations.staff-read"]','r1','d1',NULL,NULL,NULL,NULL,NULL,'2512e1497fd9799020770c16f84d00cd7dae8045dd45ebe812504a3bf2ee95ad','25bf42e8e098ba70e611678e15c6eed3','{"parameters":["O''Hare","7"],"plan":"SELECT 1","statement":"SELECT count(*) FROM operations.departures WHERE carrier = ''UA''"}','b1c26d96d3fd5b727f354bbd0d824fd37e290b49761c26795cbaefb30e51e2bd','c3fc411b62dbc0f1eb33a27c27ec51c5fd3030df7f5644fc802750a5f51089c8');
INSERT INTO "audit_records" VALUES('9e811e95d1d3414d8c3f168f4415b10e',2,'finished','q0','2026-05-04T03:02:01.000000+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ok','',10,80,'{"total":0.25}',NULL,NULL,NULL,'c3fc411b62dbc0f1eb33a27c27ec51c5fd3030df7f5644fc802750a5f51089c8','f8d056beb4a4bfdd325729133f22dbd5e7226931a43c3c893cb37a0eb66eb98a');
INSERT INTO "audit_records" VALUES('9e811e95d1d3414d8c3f168f4415b10e',3,'started','q1','2026-05-04T03:02:01.000000+00:00','nora',NULL,'adbc','flight','network-planning',0,'SELECT count ( * ) FROM operations . departures WHERE carrier = ?','4c48f6cbeb6b67b6639271f0344aeca2dd3acfc5402698e999d60c79aef2b41f','["operations.departures"]','["operations.departures.flights.carrier"]','["operations.staff-read"]','r1','d1',NULL,NULL,NULL,NULL,NULL,'10f29ba4e82e6b2e111ed8accf0d89e94dd36d8221c405cf8a0b20d1add58df2',NULL,NULL,'f8d056beb4a4bfdd325729133f22dbd5e7226931a43c3c893cb37a0eb66eb98a','766d07b9b7ffb2cbd1bd7a3958581d77c003d647ba26f76a9af47b638e040721');
INSERT INTO "audit_records" VALUES('9e811e95d1d3414d8c3f168f4415b10e',4,'finished','q1','2026-05-04T03:02:01.000000+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ok','',10,80,'{"total":0.25}',NULL,NULL,NULL,'766d07b9b7ffb2cbd1bd7a3958581d77c003d647ba26f76a9af47b638e040721','d29caee8eafa999f024f9849a275bdab283553e91f637cdd800075a2838cbd9d');
INSERT INTO "audit_records" VALUES('9e811e95d1d3414d8c3f168f4415b10e',5,'redacted','q1','2026-05-04T03:02:01.000000+00:00','petra',NULL,NULL,NULL,NULL,NULL,'["9e811e95d1d3414d8c3f168f4415b10e",3]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'d29caee8eafa999f024f9849a275bdab283553e91f637cdd800075a2838cbd9d','e7eb407f5be20888d1c9de21ba86537306814668b3ba328cc0a70cd95488baba');
CREATE TABLE revision_contents (
	hash VARCHAR(64) NOT NULL, 
	content BLOB NOT NULL, 
	PRIMARY KEY (hash)
);
CREATE TABLE revision_files (
	revision VARCHAR(80) NOT NULL, 
	path VARCHAR(500) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (revision, path), 
	FOREIGN KEY(revision) REFERENCES revisions (revision), 
	FOREIGN KEY(hash) REFERENCES revision_contents (hash)
);
CREATE TABLE revisions (
	revision VARCHAR(80) NOT NULL, 
	recorded_at VARCHAR(32) NOT NULL, 
	domains INTEGER NOT NULL, 
	products INTEGER NOT NULL, 
	policies INTEGER NOT NULL, 
	grants INTEGER NOT NULL, 
	PRIMARY KEY (revision)
);
CREATE TABLE session_tokens (
	hash VARCHAR(64) NOT NULL, 
	user_name VARCHAR(200) NOT NULL, 
	verifier VARCHAR(64) NOT NULL, 
	issued_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (hash)
);
CREATE INDEX session_tokens_expires_at ON session_tokens (expires_at);
CREATE INDEX audit_records_query_id ON audit_records (query_id);
CREATE INDEX audit_records_at ON audit_records (at);
COMMIT;

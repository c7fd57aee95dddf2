-- The sidecar's role in the pipeline's database: it can read, and could not write if it wanted to.
-- Run by the owner of the pipeline's tables; those that he makes later can be read, too.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE ROLE sidecar LOGIN PASSWORD 'sidecar';
ALTER ROLE sidecar SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA public TO sidecar;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO sidecar;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO sidecar;

"""The SQLite index: its tables, and how a connection to it is opened.

One process writes; any number read. The file lives in memory (tmpfs), so durability is switched off:
a crash of the machine takes the index with it, a crash of the writer leaves a file that SQLite recovers.
"""

from __future__ import annotations

import apsw

FORMAT = 6
"""Raised whenever a table changes its meaning, so that an index of another version is not taken over."""

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- What is on disk. Times in nanoseconds; flags: see scanner.tree. A fingerprint is of a whole listing that
-- the index agrees with, 0 where there is none.
CREATE TABLE dirs(
    dir INTEGER PRIMARY KEY, parent INTEGER NOT NULL, path TEXT NOT NULL UNIQUE,
    inode INTEGER NOT NULL, mtime INTEGER NOT NULL, fingerprint INTEGER NOT NULL);
CREATE INDEX dirs_parent ON dirs(parent);
CREATE TABLE files(
    dir INTEGER NOT NULL, name TEXT NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, flags INTEGER NOT NULL, verdict INTEGER NOT NULL,
    PRIMARY KEY(dir, name)) WITHOUT ROWID;

-- What the pipeline database says, as it says it. Times in microseconds.
CREATE TABLE jobs(job TEXT PRIMARY KEY, phase TEXT, percent REAL, time INTEGER) WITHOUT ROWID;
CREATE TABLE memberships(video TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY(video, job)) WITHOUT ROWID;
CREATE TABLE claims(
    row INTEGER PRIMARY KEY, type INTEGER NOT NULL, id TEXT NOT NULL, owner TEXT, ts REAL,
    image TEXT, segment TEXT, embedding TEXT, keypoints TEXT, embedded INTEGER NOT NULL, time INTEGER,
    UNIQUE(type, id));

-- Products and videos: the row's columns, and what is on disk. jobless scope is 0.
CREATE TABLE owners(
    type INTEGER NOT NULL, id TEXT NOT NULL, recorded INTEGER NOT NULL, job TEXT, scope INTEGER NOT NULL,
    platform TEXT, url TEXT, title TEXT, title_key TEXT, duration, time INTEGER,
    assets INTEGER NOT NULL, newest INTEGER, PRIMARY KEY(type, id)) WITHOUT ROWID;
CREATE INDEX owners_scope ON owners(scope, type, time);

-- A scope is a set of jobs that share owners; most have one job, and scope 0 has none.
CREATE TABLE scopes(scope INTEGER PRIMARY KEY, jobs TEXT NOT NULL UNIQUE);
CREATE TABLE job_scopes(job TEXT NOT NULL, scope INTEGER NOT NULL, PRIMARY KEY(job, scope)) WITHOUT ROWID;

-- How claim, disk and content compare, one row for each asset. Only listed ones are shown; the others
-- carry findings. Times in nanoseconds; has and checks: see scanner.resolve.
CREATE TABLE assets(
    asset INTEGER PRIMARY KEY, type INTEGER NOT NULL, id TEXT NOT NULL, listed INTEGER NOT NULL,
    owner TEXT, scope INTEGER NOT NULL, has INTEGER NOT NULL, checks INTEGER NOT NULL, ts REAL,
    image TEXT, segment TEXT, embedding TEXT, keypoints TEXT, others TEXT,
    image_mtime INTEGER, image_updated INTEGER, updated INTEGER, UNIQUE(type, id));
-- The last columns let a page, a filter or a count be found without touching the rows that it passes over.
CREATE INDEX assets_updated ON assets(scope, type, updated DESC, id, has, listed) WHERE listed;
CREATE INDEX assets_id ON assets(scope, type, id, has, owner, listed) WHERE listed;
CREATE INDEX assets_owner ON assets(type, owner, id, has, listed) WHERE listed;
CREATE INDEX assets_ts ON assets(owner, ts IS NULL, ts, id, has, listed, type) WHERE listed AND type = 1;
CREATE INDEX assets_moment ON assets(scope, ts IS NULL, ts, id, has, listed, type)
    WHERE listed AND type = 1;
CREATE INDEX assets_image ON assets(scope, image_updated DESC, id, has, owner, listed, type)
    WHERE listed AND type = 0;
-- Which assets look for a path: the hash of the key that their pattern gives.
CREATE TABLE expected(hash INTEGER NOT NULL, asset INTEGER NOT NULL, PRIMARY KEY(hash, asset)) WITHOUT ROWID;
-- Which assets may use a file only because their row names it: the hash of its path. What is no longer so may
-- still be here; the asset itself decides.
CREATE TABLE borrowed(hash INTEGER NOT NULL, asset INTEGER NOT NULL, PRIMARY KEY(hash, asset)) WITHOUT ROWID;

-- Of which assets a file waits for its content check, newest first; empty once all are checked.
CREATE INDEX assets_pending ON assets(updated DESC) WHERE listed AND (checks & 85) & ~(checks >> 1);
CREATE INDEX assets_unlisted ON assets(type, owner) WHERE NOT listed;

-- Disagreements, times in microseconds; state: see scanner.findings. A feature of 4 is a video's frames.
-- Reason is what many may share: the first folder of a claim that leads nowhere.
CREATE TABLE findings(
    type INTEGER NOT NULL, id TEXT NOT NULL, feature INTEGER NOT NULL, kind TEXT NOT NULL,
    scope INTEGER NOT NULL, state INTEGER NOT NULL, path TEXT, claimed TEXT, detail TEXT NOT NULL,
    reason TEXT,
    since INTEGER NOT NULL, seen INTEGER NOT NULL, due INTEGER NOT NULL,
    PRIMARY KEY(type, id, feature, kind)) WITHOUT ROWID;
CREATE INDEX findings_due ON findings(due) WHERE state=0;
CREATE INDEX findings_scope ON findings(scope, id, type, feature, kind) WHERE state=1;
CREATE INDEX findings_scope_kind ON findings(scope, kind, id, type, feature) WHERE state=1;
CREATE INDEX findings_scope_path ON findings(scope, path IS NULL, path, id, type, feature, kind)
    WHERE state=1;
CREATE INDEX findings_id ON findings(id, type, feature, kind) WHERE state=1;
CREATE INDEX findings_kind ON findings(kind, id, type, feature) WHERE state=1;
CREATE INDEX findings_reason ON findings(reason, type, feature) WHERE reason IS NOT NULL;

-- What a content check said beyond its outcome, about the file that an asset uses (the hash of its path).
CREATE TABLE details(
    type INTEGER NOT NULL, id TEXT NOT NULL, feature INTEGER NOT NULL, hash INTEGER NOT NULL,
    outcome INTEGER NOT NULL, detail TEXT NOT NULL, warning TEXT NOT NULL, digest INTEGER,
    PRIMARY KEY(type, id, feature)) WITHOUT ROWID;
CREATE INDEX details_digest ON details(digest) WHERE digest IS NOT NULL;
-- Only a query that says as much itself, whatever else it asks, is answered by it.
CREATE INDEX details_outcome ON details(outcome, type, id) WHERE outcome >= 3;

CREATE TABLE counters(
    scope INTEGER NOT NULL, type INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY(scope, type, name)) WITHOUT ROWID;

-- The latest changes to what lists are sorted and filtered by: sign -1 is what an asset was, 1 what it is.
-- A reader that remembers where positions of a list lie corrects that by them; see scanner.ranks.
CREATE TABLE moves(
    seq INTEGER PRIMARY KEY, sign INTEGER NOT NULL, type INTEGER, scope INTEGER, owner TEXT, id TEXT,
    has INTEGER, updated INTEGER, image_updated INTEGER, ts REAL);

-- How often owners have changed, for a reader that remembers them.
INSERT INTO meta VALUES('owners', 0);
CREATE TRIGGER owners_inserted AFTER INSERT ON owners BEGIN
    UPDATE meta SET value=value+1 WHERE key='owners'; END;
CREATE TRIGGER owners_updated AFTER UPDATE ON owners BEGIN
    UPDATE meta SET value=value+1 WHERE key='owners'; END;
CREATE TRIGGER owners_deleted AFTER DELETE ON owners BEGIN
    UPDATE meta SET value=value+1 WHERE key='owners'; END;
"""

_MOVED = ("type", "scope", "owner", "id", "has & 7", "updated", "image_updated", "ts")
_WAS, _IS = (", ".join(f"{row}.{column}" for column in _MOVED) for row in ("old", "new"))
_DIFFERENT = " OR ".join(f"(old.{column}) IS NOT (new.{column})" for column in (*_MOVED, "listed"))
_MOVES = "INSERT INTO moves(sign, type, scope, owner, id, has, updated, image_updated, ts)"

# A first crawl inserts every asset, and nobody remembers anything of it yet: the log begins afterwards.
LOG = f"""
CREATE TRIGGER IF NOT EXISTS assets_inserted AFTER INSERT ON assets WHEN new.listed BEGIN
    {_MOVES} VALUES(1, {_IS}); END;
CREATE TRIGGER IF NOT EXISTS assets_deleted AFTER DELETE ON assets WHEN old.listed BEGIN
    {_MOVES} VALUES(-1, {_WAS}); END;
CREATE TRIGGER IF NOT EXISTS assets_changed AFTER UPDATE ON assets
    WHEN (old.listed OR new.listed) AND ({_DIFFERENT}) BEGIN
    {_MOVES} SELECT -1, {_WAS} WHERE old.listed;
    {_MOVES} SELECT 1, {_IS} WHERE new.listed; END;
INSERT INTO moves(sign) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM moves);
"""
LOGGED = 10_000
"""How many of the latest moves are kept."""


def open_writer(path: str) -> apsw.Connection:
    """Open the index for the one writer, creating the file if it is not there."""
    connection = apsw.Connection(path)
    connection.set_busy_timeout(5000)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA cache_size=-8192")
    connection.execute("PRAGMA journal_size_limit=16777216")
    return connection


def create(connection: apsw.Connection) -> None:
    """Create every table in an empty index."""
    with connection:
        connection.execute(TABLES)


STATEMENTS = 512
"""How many prepared statements a reader keeps."""


def begin_log(connection: apsw.Connection) -> None:
    """Note from now on, inside the caller's transaction, what moves in the lists of assets."""
    connection.execute(LOG)


def trim_log(connection: apsw.Connection) -> None:
    """Keep the latest moves only; never all of them go, so that their numbers always grow."""
    connection.execute("DELETE FROM moves WHERE seq <= (SELECT max(seq) FROM moves) - ?", (LOGGED,))


def open_reader(path: str) -> apsw.Connection:
    """Open the index for a reader; raises :class:`apsw.CantOpenError` if it is not there."""
    # Each order, filter and kind of page has a statement of its own: few are ever made twice.
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=STATEMENTS)
    connection.set_busy_timeout(1000)
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA mmap_size=1073741824")
    return connection

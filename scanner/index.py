"""The index and its only writer: every change goes through a transaction of :class:`Index`.

A transaction leaves files, claims and assets in agreement, or changes nothing: a scanner that is killed
between two of them leaves an index that the next one can take over.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from scanner import schema
from scanner.arrivals import Arrivals
from scanner.assets import AssetTable
from scanner.cases import Comparison
from scanner.claimpath import ClaimPaths
from scanner.claims import ClaimTable, Key
from scanner.config import Config
from scanner.exceptions import IndexFull
from scanner.findings import FindingTable
from scanner.intake import Intake
from scanner.judgements import Judgements
from scanner.layout import Layout
from scanner.listing import Listing
from scanner.mirror import Mirror
from scanner.owners import OwnerTable
from scanner.placing import Classifier
from scanner.ready import Ready
from scanner.records import AssetType, Entry, Feature
from scanner.resolve import Disagreement, Rules
from scanner.rows import SinkItem
from scanner.tree import UNMATCHED, Census, Changes, Tree, first_folder, kind_flags, kind_of
from scanner.users import FileUsers

Totals = Counter[tuple[int, str]]
"""The counters over all jobs, by the type of asset and the counter's name."""

_PORTION = 400
Compared = Callable[[Key, list[Disagreement]], None]


def fingerprint(config: Config) -> str:
    """Of everything in the configuration that decides what the index holds."""
    parts = (
        schema.FORMAT,
        config.data,
        config.layout,
        config.jobs,
        config.database,
        config.scan,
        config.verify,
    )
    return hashlib.sha256(msgspec.json.encode([repr(part) for part in parts])).hexdigest()


def is_whole(path: Path, config: Config) -> bool:
    """Whether there is an index at ``path`` that a scanner of this configuration can take over."""
    if not path.exists():
        return False
    try:
        connection = schema.open_writer(str(path))
        row = connection.execute("SELECT value FROM meta WHERE key='fingerprint'").fetchone()
        connection.close()
    except apsw.Error:
        return False
    return row is not None and row[0] == fingerprint(config)


def rules_of(config: Config) -> Rules:
    """How evidence is read under a configuration."""
    verify = config.verify
    checked = {
        Feature.IMAGE: True,
        Feature.SEGMENT: verify.segment.check == "content",
        Feature.EMBEDDING: verify.embedding.check == "content",
        Feature.KEYPOINTS: verify.keypoints.check == "content",
    }
    features = frozenset(feature for feature, on in checked.items() if on and verify.content)
    return Rules(bool(config.database.url), int(verify.stale_seconds * 1e9), features)


class Index:
    """Writes the index at ``path``, creating it if there is none.

    ``files``, ``unmatched``, ``census`` and ``totals`` say how much there is, without a query.

    ``compared`` is told of each resolved asset's disagreements, inside the transaction.
    Raises :class:`scanner.exceptions.IndexFull` from a transaction for which there is no room.
    """

    def __init__(self, path: str, config: Config, compared: Compared | None = None) -> None:
        self.path = path
        self.db: Any = schema.open_writer(path)  # rows are typed where they are unpacked
        if not self.db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            schema.create(self.db)
        self.layout = Layout(config.layout)
        self.paths = ClaimPaths(config.data.root, config.database.path_map)
        local = None if config.database.url else config.jobs.default
        self.owners = OwnerTable(self.db, local)
        with self.db:
            self.owners.prepare()
            self.db.execute("INSERT OR IGNORE INTO meta VALUES('fingerprint', ?)", (fingerprint(config),))
            # A later index begins with a higher revision than an earlier one ever reached.
            start = time.time_ns() // 1_000_000
            self.db.execute("INSERT OR IGNORE INTO meta VALUES('revision', ?)", (start,))
        self.claims = ClaimTable(self.db, self.paths)
        self._classify = Classifier(self.layout)
        self._arrivals = Arrivals(self.layout, self.claims)
        self.tree = Tree(self.db, self._flags_of, self._arrivals.take)
        self.assets = AssetTable(
            self.db,
            self.layout,
            self._classify,
            self.tree,
            self.claims,
            self.owners,
            rules_of(config),
            self._compare,
        )
        self.assets.recorded.update(self.recorded() or {})
        self.users = FileUsers(self.db, self.claims, self._classify, self.assets.expecting)
        self._told = compared
        self.judgements = Judgements(self.db, self.tree, self.assets, self.layout.roots)
        self.findings = FindingTable(self.db, self.judgements, self.owners.counts, config.verify)
        self.mirror = Mirror(self.db, self.tree, self.claims, self.owners, self.assets)
        self.mirror.crawled = self.meta("crawled") is not None
        self._intake = Intake(self.tree, self.claims, self.owners, self.assets, self.findings, self._arrivals)
        self.revision = int(self.meta("revision") or 0)
        self.files, self.unmatched = self._count_files()
        self.census = self._count_kinds()
        self.totals = self._count_totals()
        self._changed = False

    def close(self) -> None:
        """Close the connection; the file stays."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside becomes visible to readers at once, with the assets that it concerns resolved."""
        files, unmatched, census = self.files, self.unmatched, self.census.copy()
        self._changed = self.owners.changed = False
        self.mirror.begin()
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield
            self.unmatched += self.mirror.unmatched_change
            self.tree.flush()
            if self._resolve() or self._anything_changed():
                self._write_counters()
                schema.trim_log(self.db)
                self.db.execute("UPDATE meta SET value=? WHERE key='revision'", (self.revision + 1,))
                self.revision += 1
            self.db.execute("COMMIT")
        except BaseException as error:
            self._roll_back(files, unmatched, census)
            if isinstance(error, apsw.FullError | apsw.IOError):
                raise IndexFull(str(error)) from error
            raise
        finally:
            self.tree.forget_cache()
            self._classify.forget()

    def apply(
        self,
        listing: Listing,
        hold: Callable[[str, Entry], bool],
        young_ns: int = 0,
        together: AbstractSet[str] = frozenset(),
    ) -> Changes:
        """Make the index agree with a listing; see :meth:`scanner.tree.Tree.apply`."""
        changes = self.tree.apply(listing, hold, young_ns, together)
        self._note(changes)
        return changes

    def enter(self, ready: Ready) -> bool:
        """Insert directories of which nothing is known, or that the first is empty, with all that is in them;
        False, and nothing is changed, where they have to be applied one by one."""
        if self._told is not None or not self._intake.take(ready, crawled=self.mirror.crawled):
            return False
        flags = Counter(ready.files.flags)
        self.files += len(ready.files.flags)
        self.unmatched += sum(number for one, number in flags.items() if one & UNMATCHED)
        first = first_folder(ready.directories.paths[0])
        for one, number in flags.items():
            self.census[first, kind_of(one)] += number
        self._changed = True
        return True

    def remove(self, directory: str) -> Changes:
        """Remove a directory that is gone, with everything below it."""
        changes = self.tree.remove(directory)
        self._note(changes)
        return changes

    def note_listed(self, directory: str, inode: int, mtime_ns: int) -> None:
        """All of a directory was looked at, name by name, since it had this mtime."""
        self.tree.touch(directory, mtime_ns, inode)

    def put(self, item: SinkItem) -> None:
        """Apply one item of a poll of the pipeline database."""
        self.mirror.put(item)

    def finish_crawl(self) -> None:
        """The disk has been read once: resolve the rows whose files were not met."""
        for _ in self.finishing():
            pass

    def finishing(self) -> Iterator[None]:
        """The same in portions of some ten milliseconds: there may be hundreds of thousands of such rows."""
        self.mirror.crawled = True
        after: int | None = 0
        while after is not None:
            with self.transaction():
                after = self.assets.mark_alone("claims", _PORTION, after)
            yield
        after = 0 if self.claims.any or self.assets.rules.database else None
        while after is not None:
            with self.transaction():
                after = self.assets.mark_alone("assets", _PORTION, after)
            yield
        with self.transaction():
            schema.begin_log(self.db)
            self.set_meta("crawled", 1)

    def meta(self, key: str) -> Any:
        """A value that was kept, or None."""
        row = self.db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else row[0]

    def set_meta(self, key: str, value: int | str) -> None:
        """Keep a value in the index."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (key, value))

    def publish_meta(self, key: str, value: int | str) -> None:
        """Keep a value in the index that is part of answers: for readers the index has changed."""
        self.set_meta(key, value)
        self._changed = True

    def recorded(self) -> dict[AssetType, frozenset[Feature]] | None:
        """Which features the rows of each type had a column for when all assets were compared by them."""
        text = self.meta("recorded")
        if text is None:
            return None
        known: list[list[int]] = json.loads(text)
        return {type: frozenset(map(Feature, known[type])) for type in AssetType}

    def set_recorded(self, recorded: Mapping[AssetType, frozenset[Feature]]) -> None:
        """Keep this."""
        self.set_meta("recorded", json.dumps([sorted(recorded[type]) for type in AssetType]))

    def unmatched_example(self) -> str | None:
        """The path of a file that neither a pattern nor a row knows."""
        row = self.db.execute(
            "SELECT path, name FROM files JOIN dirs USING(dir) WHERE flags & ? LIMIT 1", (UNMATCHED,)
        ).fetchone()
        return None if row is None else f"{row[0]}/{row[1]}".lstrip("/")

    def claimed_below(self, root: str) -> bool:
        """Whether a row names a file below a first folder."""
        return self.claims.any_below(root)

    def _anything_changed(self) -> bool:
        return self._changed or self.mirror.changed or self.owners.changed or any(self.owners.counts.values())

    def _resolve(self) -> bool:
        """Resolve what is marked, write its findings, go on with what they mark; True if anything changed."""
        before = self.findings.writes
        self._intake.settle(crawled=self.mirror.crawled, in_bulk=self._told is None)
        changed = self.assets.resolve_marked()
        while self.findings.flush():
            changed = self.assets.resolve_marked() or changed
        return changed or self.findings.writes != before or any(self.owners.counts.values())

    def _compare(self, comparison: Comparison) -> None:
        if self._told is not None:
            self._told(comparison.key, comparison.found)
        self.findings.add(comparison, crawled=self.mirror.crawled)

    @property
    def unjudged(self) -> int:
        """How many files wait for their content check."""
        return sum(n for (_, name), n in self.totals.items() if name.startswith("pending:"))

    def _flags_of(self, path: str) -> int:
        feature = self.assets.feature_of(path)
        if feature is not None:
            return kind_flags(feature)
        return 0 if self.claims.any and self.claims.naming([path]) else UNMATCHED

    def _note(self, changes: Changes) -> None:
        if not changes.files:
            return
        self.files += changes.files_change
        self.unmatched += changes.unmatched_change
        for key, change in changes.census.items():
            self.census[key] += change
        self._changed = True
        self.assets.mark_files(changes.known)

    def _count_files(self) -> tuple[int, int]:
        row = self.db.execute(
            "SELECT count(*), coalesce(sum(flags & ? <> 0), 0) FROM files", (UNMATCHED,)
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def _write_counters(self) -> None:
        self.db.executemany(
            "INSERT INTO counters VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET n=n+excluded.n",
            [(*key, change) for key, change in self.owners.counts.items() if change],
        )
        for (_, type, name), change in self.owners.counts.items():
            self.totals[type, name] += change
        self.owners.counts.clear()

    def _count_kinds(self) -> Census:
        rows = self.db.execute(
            "SELECT path, flags, count(*) FROM files JOIN dirs USING(dir) GROUP BY dir, flags"
        )
        census: Census = Counter()
        for path, flags, count in rows:
            census[first_folder(path), kind_of(flags)] += count
        return census

    def _count_totals(self) -> Totals:
        rows = self.db.execute("SELECT type, name, sum(n) FROM counters GROUP BY type, name")
        return Counter({(type, name): n for type, name, n in rows})

    def _roll_back(self, files: int, unmatched: int, census: Census) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self.files, self.unmatched, self.census = files, unmatched, census
        self.totals = self._count_totals()
        self._arrivals.forget()
        self.claims.forget()
        self.mirror.forget()
        self.assets.forget()
        self.findings.forget()
        self.owners.forget_cache()

"""The part of the index that says which jobs there are, and what products and videos they have.

An owner is a product or a video. The set of jobs that an owner is in is its *scope*: a small number that
its assets carry, so that a list of a job reads one stretch of an index and no request joins. Scope 0 is
the empty set.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from scanner.records import AssetType, JobRow, MembershipRow, ProductRow, VideoRow

NO_JOB = 0
Counts = dict[tuple[int, int, str], int]
"""Changes to ``counters``: (scope, type, name) to what is added."""


def search_key(text: str) -> str:
    """The form in which titles are compared and sorted: casefolded, then NFC."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


class Put(NamedTuple):
    """The products or videos whose jobs a row has changed.

    ``moved`` have to be assigned anew; ``arrived`` are those of which nothing was known: they have their
    scope, but what is there of them already has that of none.
    """

    moved: list[str]
    arrived: list[str]


class OwnerTable:
    """Reads and writes jobs, memberships, owners and scopes inside the caller's transaction.

    ``local_job`` is the one job of everything on disk where no database is configured, else None.
    """

    def __init__(self, connection: apsw.Connection, local_job: str | None) -> None:
        self._db: Any = connection  # rows are typed where they are unpacked
        self._local = local_job
        self._scopes: dict[tuple[str, ...], int] = {}
        self.counts: Counts = {}
        self.changed = False

    def prepare(self) -> None:
        """Write what a new index starts with: the empty scope, and the local job."""
        self._db.execute("INSERT OR IGNORE INTO scopes VALUES(0, '[]')")
        if self._local is not None:
            self._db.execute("INSERT OR IGNORE INTO jobs VALUES(?, NULL, NULL, NULL)", (self._local,))

    def forget_cache(self) -> None:
        """Drop what was remembered; call it when a transaction is rolled back."""
        self._scopes.clear()
        self.counts.clear()

    def put_jobs(self, rows: Sequence[JobRow]) -> bool:
        """Insert or update jobs; True if any was new or different."""
        changed = False
        for row in rows:
            values = (row.job_id, row.phase, row.percent, row.time_us)
            old = self._db.execute("SELECT * FROM jobs WHERE job=?", (row.job_id,)).fetchone()
            if old != values:
                self._db.execute("INSERT OR REPLACE INTO jobs VALUES(?,?,?,?)", values)
                changed = True
        return changed

    def put_products(self, rows: Sequence[ProductRow]) -> Put:
        """Insert or update products."""
        return self._put(
            AssetType.PRODUCT_IMAGE,
            [(row.product_id, row.job_id, None, None, row.title, None, row.time_us) for row in rows],
        )

    def put_videos(self, rows: Sequence[VideoRow]) -> Put:
        """Insert or update videos."""
        return self._put(
            AssetType.VIDEO_FRAME,
            [
                (row.video_id, row.job_id, row.platform, row.url, row.title, row.duration_s, row.time_us)
                for row in rows
            ],
        )

    def put_memberships(self, rows: Sequence[MembershipRow]) -> list[str]:
        """Insert memberships of videos in jobs; returns the videos that are in a job they were not in."""
        known = self._memberships({row.video_id for row in rows})
        new = [(row.video_id, row.job_id) for row in dict.fromkeys(rows)]
        new = [(video, job) for video, job in new if job not in known.get(video, ())]
        self._db.executemany("INSERT INTO memberships VALUES(?,?)", new)
        return [video for video, _ in new]

    def all_keys(self, table: str) -> set[tuple[str, ...]]:
        """The keys of every mirrored row of ``jobs``, ``memberships``, ``products`` or ``videos``."""
        queries = {
            "jobs": "SELECT job FROM jobs",
            "memberships": "SELECT video, job FROM memberships",
            "products": "SELECT id FROM owners WHERE type=0 AND recorded",
            "videos": "SELECT id FROM owners WHERE type=1 AND recorded",
        }
        return set(self._db.execute(queries[table]))

    def remove_jobs(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Forget jobs whose rows are gone."""
        self._db.executemany("DELETE FROM jobs WHERE job=?", keys)

    def remove_memberships(self, keys: Iterable[tuple[str, ...]]) -> list[str]:
        """Forget memberships (video, job); returns the videos."""
        gone = list(keys)
        self._db.executemany("DELETE FROM memberships WHERE video=? AND job=?", gone)
        return [video for video, _ in gone]

    def remove_owners(self, type: AssetType, ids: Iterable[str]) -> list[str]:
        """Forget the rows of owners: what is on disk below them stays, in no job. Returns the ids."""
        gone = list(ids)
        for id in gone:
            self._db.execute(
                "UPDATE owners SET recorded=0, job=NULL, platform=NULL, url=NULL, title=NULL, title_key=NULL,"
                " duration=NULL, time=NULL WHERE type=? AND id=?",
                (type, id),
            )
            self._count_owner(type, id, -1)
        return gone

    def reassign(self, type: AssetType, ids: Iterable[str]) -> list[str]:
        """Work out anew in which jobs owners are; returns the ids of those for which that changed."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return []
        members = self._memberships(wanted) if type is AssetType.VIDEO_FRAME else {}
        gone: list[tuple[AssetType, str]] = []
        moved: list[tuple[int, AssetType, str]] = []
        for id, old, job, recorded, assets in self._of(type, wanted, "id, scope, job, recorded, assets"):
            new = self._recorded_scope(job, members.get(id, ())) if recorded else self.disk_scope()
            if not recorded and not assets:
                gone.append((type, id))
            if new != old:
                if recorded:
                    self._add(old, type, -1)
                    self._add(new, type, 1)
                moved.append((new, type, id))
        self._db.executemany("DELETE FROM owners WHERE type=? AND id=?", gone)
        self._db.executemany("UPDATE owners SET scope=? WHERE type=? AND id=?", moved)
        return [id for _, _, id in moved]

    def scope_of(self, jobs: Iterable[str]) -> int:
        """The number of a set of jobs; a new set gets a new number."""
        key = tuple(sorted(set(jobs)))
        if not key:
            return NO_JOB
        known = self._scopes.get(key)
        if known is not None:
            return known
        text = json.dumps(key)
        row = self._db.execute("SELECT scope FROM scopes WHERE jobs=?", (text,)).fetchone()
        if row is None:
            self._db.execute("INSERT INTO scopes(jobs) VALUES(?)", (text,))
            number = int(self._db.last_insert_rowid())
            self._db.executemany("INSERT INTO job_scopes VALUES(?,?)", [(job, number) for job in key])
        else:
            number = int(row[0])
        self._scopes[key] = number
        return number

    def scopes(self, type: AssetType, ids: Sequence[str]) -> dict[str, int]:
        """The scopes of owners; one that is only on disk is in the local job, or in none."""
        found = self._db.execute(
            "SELECT id, scope FROM owners WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        )
        known: dict[str, int] = dict(found)
        default = self.disk_scope()
        return {id: known.get(id, default) for id in ids}

    def disk_scope(self) -> int:
        """The scope of what no row of a product or video names."""
        return NO_JOB if self._local is None else self.scope_of((self._local,))

    def adjust(self, type: AssetType, changes: dict[str, list[tuple[int | None, int | None]]]) -> None:
        """Keep the number and the newest image of owners: each change is (mtime before, mtime after)."""
        for id, pairs in changes.items():
            change = sum((after is not None) - (before is not None) for before, after in pairs)
            top = max((after for _, after in pairs if after is not None), default=None)
            self._adjust_one(type, id, change, top, {before for before, _ in pairs if before is not None})

    def gain(self, type: AssetType, gains: Mapping[str, tuple[int, int]]) -> None:
        """Owners have so many assets more, the newest image of which is of this time."""
        held = {id: rest for id, *rest in self._of(type, list(gains), "id, assets, newest, scope")}
        new: list[tuple[object, ...]] = []
        more: list[tuple[object, ...]] = []
        for id, (count, newest) in gains.items():
            if id in held:
                before, latest, scope = held[id]
                more.append((before + count, newest if latest is None else max(latest, newest), type, id))
            else:
                before, scope = 0, self.disk_scope()
                new.append((type, id, scope, count, newest))
            if self._local is not None and not before:
                self._add(scope, type, 1)
        self._db.executemany(
            "INSERT INTO owners(type, id, recorded, scope, assets, newest) VALUES(?,?,0,?,?,?)", new
        )
        self._db.executemany("UPDATE owners SET assets=?, newest=? WHERE type=? AND id=?", more)

    def _adjust_one(
        self, type: AssetType, id: str, change: int, top: int | None, gone: Collection[int]
    ) -> None:
        """So many assets more; ``top`` is the newest time that has come, ``gone`` are those that went."""
        assets, newest, recorded, scope = self._held(type, id)
        count = assets + change
        lost = newest in gone
        if top is not None and (newest is None or top >= newest):
            newest = top
        elif lost:
            newest = self._db.execute(
                "SELECT max(image_mtime) FROM assets WHERE type=? AND owner=? AND listed", (type, id)
            ).fetchone()[0]
        if not count and not recorded:
            self._db.execute("DELETE FROM owners WHERE type=? AND id=?", (type, id))
        else:
            self._db.execute(
                "UPDATE owners SET assets=?, newest=? WHERE type=? AND id=?", (count, newest, type, id)
            )
        if self._local is not None and bool(count) != bool(assets):
            self._add(scope, type, 1 if count else -1)

    def _held(self, type: AssetType, id: str) -> tuple[int, int | None, int, int]:
        """Assets, newest, recorded and scope of an owner, which is there from now on."""
        row: tuple[int, int | None, int, int] | None = self._db.execute(
            "SELECT assets, newest, recorded, scope FROM owners WHERE type=? AND id=?", (type, id)
        ).fetchone()
        if row is None:
            row = (0, None, 0, self.disk_scope())
            self._db.execute(
                "INSERT INTO owners(type, id, recorded, scope, assets) VALUES(?,?,0,?,0)", (type, id, row[3])
            )
        return row

    def _put(self, type: AssetType, rows: Sequence[tuple[Any, ...]]) -> Put:
        latest = {row[0]: row for row in rows}
        if not latest:
            return Put([], [])
        columns = "id, job, platform, url, title, duration, time, recorded, scope"
        known = {found[0]: found for found in self._of(type, list(latest), columns)}
        members = (
            self._memberships(latest) if type is AssetType.VIDEO_FRAME and len(known) < len(latest) else {}
        )
        moved: list[str] = []
        arrived: list[str] = []
        values: list[tuple[object, ...]] = []
        for id, row in latest.items():
            old = known.get(id)
            recorded = old is not None and bool(old[7])
            if old is not None and recorded and old[:7] == row:
                continue
            _, job, platform, url, title, duration, time = row
            key = search_key(title) if isinstance(title, str) else None
            scope = self._recorded_scope(job, members.get(id, ())) if old is None else old[8]
            values.append((type, id, job, platform, url, title, key, duration, time, scope))
            if not recorded:
                self._add(scope, type, 1)
            if old is None:
                arrived.append(id)
            elif not recorded or old[1] != job:
                moved.append(id)
        self._db.executemany(
            "INSERT INTO owners(type, id, recorded, job, scope, platform, url, title, title_key,"
            " duration, time, assets) VALUES(?1,?2,1,?3,?10,?4,?5,?6,?7,?8,?9,0)"
            " ON CONFLICT DO UPDATE SET recorded=1, job=?3, platform=?4, url=?5, title=?6,"
            " title_key=?7, duration=?8, time=?9",
            values,
        )
        self.changed = self.changed or bool(values)
        return Put(moved, arrived)

    def _recorded_scope(self, job: str | None, members: Sequence[str]) -> int:
        """The scope of an owner that has a row, by the job in it and those it is a member of."""
        return self.scope_of(members if job is None else (*members, job))

    def _of(self, type: AssetType, ids: Sequence[str], columns: str) -> list[tuple[Any, ...]]:
        """Some columns of the owners with these ids."""
        found: list[tuple[Any, ...]] = self._db.execute(
            f"SELECT {columns} FROM owners WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        ).fetchall()
        return found

    def _memberships(self, videos: Iterable[str]) -> dict[str, list[str]]:
        """The jobs that ``job_videos`` names, of those of the videos that it names."""
        members: dict[str, list[str]] = {}
        for video, job in self._db.execute(
            "SELECT video, job FROM memberships WHERE video IN (SELECT value FROM json_each(?))",
            (json.dumps(list(videos)),),
        ):
            members.setdefault(video, []).append(job)
        return members

    def _count_owner(self, type: AssetType, id: object, change: int) -> None:
        for (scope,) in self._db.execute("SELECT scope FROM owners WHERE type=? AND id=?", (type, id)):
            self._add(scope, type, change)

    def _add(self, scope: int, type: AssetType, change: int) -> None:
        key = (scope, int(type), "owners")
        self.counts[key] = self.counts.get(key, 0) + change

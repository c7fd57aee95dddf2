"""What verification knows, out of the index."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, cast

from scanner.findings import CONFIRMED, FRAMES
from scanner.owners import search_key
from scanner.querysql import MERGED, Filter
from scanner.records import AssetType, Feature, FindingItem, FindingRequest, Kind, Page, Verification

_PUBLISHED = 1
PORTION = 1000
"""How many findings are read at once of all of them."""
_ONE_ASSET = 500
# A job is one that has a row: an owner may name another, which nobody could ask for.
_LOWEST_JOB = "SELECT min(job) FROM job_scopes js JOIN jobs USING(job) WHERE js.scope="
_CONFIRMED = f"coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key='{CONFIRMED}'), 0)"
_TEXTS = f"f.type, f.id, f.feature, f.kind, f.path, f.claimed, f.detail, f.since, max(f.seen, {_CONFIRMED})"
_COLUMNS = f"{_TEXTS}, ({_LOWEST_JOB}f.scope)"
_TYPES, _FEATURES, _KINDS = tuple(AssetType), tuple(Feature), {str(kind): kind for kind in Kind}
_MOST_ASKED = 1000
_MOST_KEYS = 50_000  # that are remembered in an order
_TIES = ("id", "type", "feature", "kind")

Key = tuple[int, str, int, str]
"""A finding: type, id, feature and kind as the index has them."""
Place = tuple[Any, ...]
"""The place of a finding in an order: what it is sorted by."""


class _Term(NamedTuple):
    """One term of an order."""

    sql: str
    descending: bool = False


class FindingReader:
    """Reads the report and the findings; a job of None means everything, what is in no job included.

    Whether a job exists is for the caller to know. ``root`` is the data root, which is part of the paths that
    are searched.
    """

    def __init__(self, connection: Any, root: str) -> None:
        self._db = connection
        self._root = root
        self._orders: dict[FindingRequest, list[Key]] = {}
        self._asked: set[FindingRequest] = set()
        self._totals: dict[Hashable, int] = {}
        self._lowest: dict[int, str | None] = {}
        self._job_scopes: dict[str | None, tuple[int, ...]] = {}

    def verification(self, job: str | None) -> Verification:
        """The report."""
        counters = self._counters(job)
        states = {
            state: {feature: counters.get(f"{state}:{feature.wire}", 0) for feature in Feature}
            for state in ("checked", "pending", "unchecked")
        }
        findings: dict[Kind, dict[Feature, int]] = {}
        for kind in Kind:
            for feature in Feature:
                n = counters.get(f"finding:{kind}:{int(feature)}", 0)
                if n:
                    findings.setdefault(kind, {})[feature] = n
        total = sum(sum(by_feature.values()) for by_feature in findings.values())
        return Verification(
            job,
            counters.get("total", 0),
            findings,
            total,
            **states,
            withheld=counters.get("withheld", 0),
            last_pass_us=self._last_pass(),
        )

    def findings(self, wanted: FindingRequest) -> tuple[list[FindingItem], int]:
        """A page of findings, and how many match."""
        page = wanted.page
        remembered = None if is_natural(wanted) else self._remembered(wanted)
        if remembered is not None:
            keys = remembered[page.offset : page.offset + page.limit]
            return self._with_keys(keys), len(remembered)
        filters = self._filters(wanted)
        total = self._counted(wanted) if wanted.q is None else self._count(filters)
        scopes = self._scopes(wanted.job_id) if is_natural(wanted) else ()
        if 1 < len(scopes) <= MERGED:
            return self._with_keys(self._merged(scopes, page)), total
        return self._with_keys(self._keys(filters, _order(page), page.limit, page.offset)), total

    def forget(self) -> None:
        """The index has changed: drop what is remembered of it."""
        self._orders.clear()
        self._asked.clear()
        self._totals.clear()
        self._lowest.clear()
        self._job_scopes.clear()

    def portion(self, wanted: FindingRequest, place: Place | None) -> tuple[list[FindingItem], Place | None]:
        """The findings that follow on a place in the order, and the place of the last, whatever the limit.

        No place is before the first, and behind the last. A place holds for any state of the index.
        """
        filters, terms = self._filters(wanted), _order(wanted.page)
        if place is not None:
            filters.add(*_behind(terms, place))
        rows = self._rows(filters, terms, PORTION, 0)
        return [_item(row, row[9]) for row in rows], rows[-1][10:] if len(rows) == PORTION else None

    def of_asset(self, type: AssetType, id: str) -> list[FindingItem]:
        """The findings of one asset."""
        filters = Filter()
        filters.add("f.type=?", int(type))
        filters.add("f.id=?", id)
        page = Page(_ONE_ASSET, 0, "asset_id", False)
        return [_item(row, row[9]) for row in self._rows(filters, _order(page), page.limit, 0)]

    # --- parts -----------------------------------------------------------------------------------

    def _remembered(self, wanted: FindingRequest) -> list[Key] | None:
        """The keys of all that match, in order; None where they are too many to be remembered.

        And where nobody has asked for them before: while the index changes all the time, sorting all of them
        for one page would be in vain.
        """
        anywhere = replace(wanted, page=replace(wanted.page, limit=_MOST_KEYS + 1, offset=0))
        known = self._orders.get(anywhere)
        if known is None:
            if anywhere not in self._asked:
                if len(self._asked) >= _MOST_ASKED:
                    self._asked.clear()
                self._asked.add(anywhere)
                return None
            if wanted.q is None and self._counted(wanted) > _MOST_KEYS:
                return None
            known = self._keys(self._filters(wanted), _order(wanted.page), _MOST_KEYS + 1, 0)
            if len(known) > _MOST_KEYS:
                return None
            held = sum(map(len, self._orders.values()))
            if len(self._orders) >= _MOST_ASKED or held > _MOST_KEYS:
                self._orders.clear()
                self._asked.clear()
            self._orders[anywhere] = known
        return known

    def _keys(self, filters: Filter, terms: Sequence[_Term], limit: int, offset: int) -> list[Key]:
        """The keys of findings in order, without what else is in their rows."""
        order = ", ".join(f"f.{term.sql}{' DESC' if term.descending else ''}" for term in terms)
        sql = (
            f"SELECT f.type, f.id, f.feature, f.kind FROM findings f"
            f" WHERE f.state={_PUBLISHED}{filters.sql()} ORDER BY {order} LIMIT ? OFFSET ?"
        )
        return list(self._db.execute(sql, (*filters.values, limit, offset)))

    def _merged(self, scopes: Sequence[int], page: Page) -> list[Key]:
        """The keys of a page of all findings of several scopes, each of which an index has in this order."""
        terms = _order(page)
        named = ", ".join(f"{term.sql} AS k{place}" for place, term in enumerate(terms))
        select = f"SELECT type, id, feature, kind, {named} FROM findings WHERE state={_PUBLISHED} AND scope=?"
        order = ", ".join(f"k{place}{' DESC' if term.descending else ''}" for place, term in enumerate(terms))
        sql = f"{' UNION ALL '.join([select] * len(scopes))} ORDER BY {order} LIMIT ? OFFSET ?"
        return [row[:4] for row in self._db.execute(sql, (*scopes, page.limit, page.offset))]

    def _with_keys(self, keys: Sequence[Key]) -> list[FindingItem]:
        """The findings with these keys, in the order given."""
        if not keys:
            return []
        rows = self._db.execute(_keyed(len(keys)), list(chain.from_iterable(keys))).fetchall()
        lowest = {scope: self._lowest_job(scope) for scope in {row[9] for row in rows}}
        return [_item(row, lowest[row[9]]) for row in rows]

    def _lowest_job(self, scope: int) -> str | None:
        """The job of what is in a scope."""
        try:
            return self._lowest[scope]
        except KeyError:
            (job,) = self._db.execute(f"{_LOWEST_JOB}?", (scope,)).fetchone()
            if len(self._lowest) >= _MOST_KEYS:
                self._lowest.clear()
            self._lowest[scope] = job
            return cast("str | None", job)

    def _rows(
        self, filters: Filter, terms: Sequence[_Term], limit: int, offset: int
    ) -> list[tuple[Any, ...]]:
        keys = ", ".join(f"f.{term.sql}" for term in terms)
        order = ", ".join(f"f.{term.sql}{' DESC' if term.descending else ''}" for term in terms)
        sql = (
            f"SELECT {_COLUMNS}, {keys} FROM findings f"
            f" WHERE f.state={_PUBLISHED}{filters.sql()} ORDER BY {order} LIMIT ? OFFSET ?"
        )
        return list(self._db.execute(sql, (*filters.values, limit, offset)))

    def _count(self, filters: Filter) -> int:
        sql = f"SELECT count(*) FROM findings f WHERE f.state={_PUBLISHED}{filters.sql()}"
        return int(self._db.execute(sql, filters.values).fetchone()[0])

    def _filters(self, wanted: FindingRequest) -> Filter:
        filters = Filter()
        if wanted.job_id is not None:
            scopes = self._scopes(wanted.job_id)
            if len(scopes) == 1:
                filters.add("f.scope=?", scopes[0])
            else:
                filters.add("f.scope IN (SELECT value FROM json_each(?))", json.dumps(scopes))
        if wanted.kinds:
            names = json.dumps([str(kind) for kind in wanted.kinds])
            filters.add("f.kind IN (SELECT value FROM json_each(?))", names)
        if wanted.features:
            numbers = json.dumps([int(feature) for feature in wanted.features])
            filters.add(f"f.feature % {FRAMES} IN (SELECT value FROM json_each(?))", numbers)
        if wanted.asset_type is not None:
            filters.add("f.type=?", int(wanted.asset_type))
        if wanted.q is not None:
            key, root = search_key(wanted.q), f"{self._root.rstrip('/')}/"
            filters.add("instr(search_key(f.id), ?) OR instr(search_key(? || f.path), ?)", key, root, key)
        return filters

    def _scopes(self, job: str | None) -> tuple[int, ...]:
        scopes = self._job_scopes.get(job)
        if scopes is None:
            rows = self._db.execute("SELECT scope FROM job_scopes WHERE job=?", (job,))
            if len(self._job_scopes) >= _MOST_ASKED:
                self._job_scopes.clear()
            scopes = self._job_scopes[job] = tuple(scope for (scope,) in rows)
        return scopes

    def _counted(self, wanted: FindingRequest) -> int:
        """How many findings there are, by the counters."""
        key = (wanted.job_id, wanted.kinds, wanted.features, wanted.asset_type)
        total = self._totals.get(key)
        if total is None:
            kinds, features = wanted.kinds or Kind, wanted.features or Feature
            names = {f"finding:{kind}:{int(feature)}" for kind in kinds for feature in features}
            counters = self._counters(wanted.job_id, wanted.asset_type)
            total = sum(n for name, n in counters.items() if name in names)
            if len(self._totals) >= _MOST_ASKED:
                self._totals.clear()
            self._totals[key] = total
        return total

    def _counters(self, job: str | None, asset_type: AssetType | None = None) -> dict[str, int]:
        """Every counter by its name, over both types or one."""
        filters = Filter()
        if job is not None:
            filters.add("scope IN (SELECT scope FROM job_scopes WHERE job=?)", job)
        if asset_type is not None:
            filters.add("type=?", int(asset_type))
        sql = f"SELECT name, sum(n) FROM counters WHERE 1{filters.sql()} GROUP BY name"
        return dict(self._db.execute(sql, filters.values))

    def _last_pass(self) -> int | None:
        row = self._db.execute("SELECT value FROM meta WHERE key='last_pass'").fetchone()
        return None if row is None else int(row[0])


def is_natural(wanted: FindingRequest) -> bool:
    """Whether an index has the findings in the order that is asked for, and no more."""
    plain = not (wanted.kinds or wanted.features or wanted.asset_type is not None or wanted.q)
    indexed = wanted.page.sort_by != "path" or wanted.job_id is not None
    return plain and indexed and not wanted.page.descending


def _order(page: Page) -> list[_Term]:
    """The order of a page: nulls last, ties by id, type, feature and kind ascending."""
    return _order_of(page.sort_by, page.descending)


@lru_cache
def _order_of(sort: str, descending: bool) -> list[_Term]:
    first = {
        "asset_id": [_Term("id", descending)],
        "kind": [_Term("kind", descending)],
        "path": [_Term("path IS NULL"), _Term("path", descending)],
    }[sort]
    named = {term.sql for term in first}
    return [*first, *(_Term(name) for name in _TIES if name not in named)]


def _behind(terms: Sequence[_Term], last: Sequence[Any]) -> tuple[Any, ...]:
    """The condition for what comes behind a row in an order, with its values."""
    if not any(term.descending for term in terms) and len(terms) == len(_TIES):
        names = ", ".join(f"f.{term.sql}" for term in terms)
        return f"({names}) > ({', '.join('?' * len(terms))})", *last
    alternatives, values = [], []
    for place, term in enumerate(terms):
        same = [f"(f.{before.sql}) IS ?" for before in terms[:place]]
        beyond = f"(f.{term.sql}) {'<' if term.descending else '>'} ?"
        alternatives.append(" AND ".join([*same, beyond]))
        values += [*last[:place], last[place]]
    behind = " OR ".join(f"({alternative})" for alternative in alternatives)
    # Says nothing new, but lets an index begin there instead of with the first of all.
    begin = f"(f.{terms[0].sql}) {'<' if terms[0].descending else '>'}= ?"
    return f"{begin} AND ({behind})", last[0], *values


@lru_cache
def _keyed(count: int) -> str:
    """The statement for so many findings whose keys are given, in their order, each with its scope."""
    # A cross join goes through its tables in the order in which they are written.
    return (
        f"WITH wanted(t, i, n, k) AS (VALUES {', '.join(['(?, ?, ?, ?)'] * count)})"
        f" SELECT {_TEXTS}, f.scope FROM wanted CROSS JOIN findings f"
        f" ON f.type=t AND f.id=i AND f.feature=n AND f.kind=k"
    )


def _item(row: Sequence[Any], job: str | None) -> FindingItem:
    type, id, feature, kind, path, claimed, detail, since, seen = row[:9]
    return FindingItem(
        job,
        _TYPES[type],
        id,
        _FEATURES[feature % FRAMES],
        _KINDS[kind],
        path,
        claimed,
        detail,
        since,
        seen,
    )

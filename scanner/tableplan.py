"""What is asked of each table, by the columns that it has, and how its raw rows become records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from itertools import repeat
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import NullType, TypeEngine

from scanner import cleaning
from scanner.cleaning import Cleaner, Report
from scanner.records import Feature, PipelineRow
from scanner.rows import AssetColumns, Raw, Table
from scanner.tablespec import Role, TableSpec, Wanted
from scanner.timestamps import EPOCH_UNITS, Clock

Dirt = Callable[[str, int, str], None]  # the column, the row's place in the batch, what is wrong


class Kind(Enum):
    """What a column holds; ``ANY`` where each value has a type of its own (SQLite)."""

    ANY = auto()
    TEXT = auto()
    NUMBER = auto()
    ZONED = auto()
    LOCAL = auto()
    DATE = auto()
    OTHER = auto()


SERVER_TIMES = {Kind.ZONED: "timestamptz", Kind.LOCAL: "timestamp", Kind.DATE: "date"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the record: the place of its value in a raw row (None: always ``default``)."""

    name: str
    place: int | None = None
    clean: Cleaner | None = None
    default: Any = None


@dataclass
class TablePlan:
    """How one table of one database is read."""

    table: Table
    spec: TableSpec
    relation: sa.TableClause
    kinds: dict[str, Kind]
    cells: list[Cell]
    outputs: list[sa.ColumnElement[Any]]
    sound: bool
    updated: Cell | None = None
    created: Cell | None = None
    ignored: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[sa.ColumnElement[Any]]:
        """The key columns as the database has them."""
        return [self.relation.c[name] for name in self.spec.keys]

    @property
    def recorded(self) -> frozenset[Feature]:
        """The features that an asset's row says something about; one whose column is of no use is not."""
        names = [wanted.name for wanted in self.spec.wanted[-len(Feature) :]]
        read = {cell.name for cell in self.cells if cell.place is not None}
        return frozenset(feature for feature in Feature if names[feature] in read)

    @cached_property
    def salt(self) -> int | None:
        """What tells the hashes of raw rows from those of the same rows as another plan reads them.

        None where such a hash is not enough to know a row by: a text and bytes may have the same.
        """
        return None if Kind.ANY in self.kinds.values() else hash(str(self.select()))

    def select(self) -> sa.Select[Any]:
        """Every row, as raw values in the order of ``outputs``."""
        return sa.select(*self.outputs).select_from(self.relation)

    def build(self, raw: Raw, dirt: Dirt) -> tuple[Sequence[PipelineRow], Sequence[int | None]]:
        """The records of a batch of at least one row, without the rows that lack a key.

        Beside them when each raw row was last updated, by its own account; empty where none says so.
        """
        columns: list[Sequence[Any]] = list(zip(*raw, strict=True))
        parts = [self._column(cell, columns, len(raw), dirt) for cell in self.cells]
        updated = self._column(self.updated, columns, len(raw), dirt) if self.updated else []
        if self.spec.timed:
            parts.append(self._times(updated, columns, len(raw), dirt))
        if self.spec.asset_type is None:
            return _make(self.spec.record, self._whole(parts, dirt)), updated
        parts.insert(0, [self.spec.asset_type] * len(raw))
        return AssetColumns(self._whole(parts, dirt)), updated

    def _column(self, cell: Cell, columns: list[Sequence[Any]], count: int, dirt: Dirt) -> Sequence[Any]:
        if cell.place is None:
            return list(repeat(cell.default, count))
        values = columns[cell.place]
        return values if cell.clean is None else cell.clean(values, _report(dirt, cell.name))

    def _times(
        self, updated: Sequence[Any], columns: list[Sequence[Any]], count: int, dirt: Dirt
    ) -> Sequence[Any]:
        """The first of the two times that is not null."""
        if self.created is None:
            return updated or [None] * count
        if updated and None not in updated:
            return updated
        created = self._column(self.created, columns, count, dirt)
        if not updated:
            return created
        return [c if u is None else u for u, c in zip(updated, created, strict=True)]

    def _whole(self, parts: list[Sequence[Any]], dirt: Dirt) -> list[Sequence[Any]]:
        """The columns without the rows that lack a part of their key."""
        first = 0 if self.spec.asset_type is None else 1
        keys = parts[first : first + len(self.spec.keys)]
        if not any(None in key for key in keys):
            return parts
        kept = [place for place, key in enumerate(zip(*keys, strict=True)) if None not in key]
        for place in set(range(len(keys[0]))).difference(kept):
            dirt("/".join(self.spec.keys), place, "is null: the row is left out")
        return [[values[place] for place in kept] for values in parts]


def plan_table(
    table: Table,
    spec: TableSpec,
    columns: dict[str, TypeEngine[Any]],
    clock: Clock,
    *,
    dynamic: bool,
    sound: bool,
) -> TablePlan:
    """The plan for a table with these columns.

    ``dynamic``: each value has a type of its own (SQLite). ``sound``: the server has seen to it that all
    text is valid.
    """
    kinds = {name: Kind.ANY if dynamic else kind_of(type_) for name, type_ in columns.items()}
    relation = sa.table(table.value, *(sa.column(name) for name in columns))
    plan = TablePlan(table, spec, relation, kinds, [], [], sound)
    for wanted in spec.wanted:
        _add(plan, wanted, columns.get(wanted.name))
    if spec.asset_type is not None:
        plan.cells.append(_embedding_flag(plan, spec.wanted[-2].name))
    if spec.timed:
        plan.updated = _add_time(plan, "updated_at", clock)
        plan.created = _add_time(plan, "created_at", clock)
    return plan


def kind_of(type_: TypeEngine[Any]) -> Kind:
    """What a column of a statically typed database holds."""
    if isinstance(type_, DOMAIN):
        return kind_of(type_.data_type)
    if isinstance(type_, sa.DateTime):
        return Kind.ZONED if type_.timezone else Kind.LOCAL
    if isinstance(type_, sa.Date):
        return Kind.DATE
    if isinstance(type_, sa.Integer | sa.Numeric | sa.Float):
        return Kind.NUMBER
    return Kind.TEXT if isinstance(type_, sa.String) and not isinstance(type_, sa.Enum) else Kind.OTHER


def epoch_micros(number: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A number that counts seconds, milli- or microseconds, in microseconds; nanoseconds stay larger."""
    unit: Callable[[str], sa.ColumnElement[Any]] = sa.literal_column
    steps = [(str(limit), f"{factor}.0") for limit, factor, _ in EPOCH_UNITS[:3]]
    whens = [(number < unit(limit), number * unit(factor)) for limit, factor in steps]
    return sa.case((number < unit("0"), unit("0")), *whens, else_=number)


def _add(plan: TablePlan, wanted: Wanted, type_: TypeEngine[Any] | None) -> None:
    """Append the cell for one wanted column, and its expression to what is selected."""
    if type_ is None:
        plan.cells.append(Cell(wanted.name))
        return
    kind = plan.kinds[wanted.name]
    expression = _expression(plan.relation.c[wanted.name], type_, kind, wanted.role)
    if expression is None:
        if wanted.role is Role.PATH:
            plan.ignored.append(wanted.name)
        plan.cells.append(Cell(wanted.name))
        return
    plan.cells.append(_output(plan, wanted.name, expression, _cleaner(wanted.role, plan.sound)))


def _output(plan: TablePlan, name: str, expression: sa.ColumnElement[Any], clean: Cleaner | None) -> Cell:
    plan.outputs.append(sa.type_coerce(expression, NullType()).label(f"c{len(plan.outputs)}"))
    return Cell(name, len(plan.outputs) - 1, clean)


def _expression(
    column: sa.ColumnElement[Any], type_: TypeEngine[Any], kind: Kind, role: Role
) -> sa.ColumnElement[Any] | None:
    if role is Role.EMBEDDING:
        if kind is Kind.ANY:
            return sa.case((sa.func.typeof(column) == "text", column))
        return _null_if_empty(_as_text(column, type_, kind)) if kind is Kind.TEXT else None
    if kind is Kind.ANY:
        return column
    if role is Role.PATH:
        textual = kind is Kind.TEXT or isinstance(type_, sa.Enum)
        return _null_if_empty(_as_text(column, type_, kind)) if textual else None
    if role in (Role.NUMBER, Role.FLOAT) and kind is Kind.NUMBER:
        return column
    text = _as_text(column, type_, kind)
    return text if role is Role.LABEL else _null_if_empty(text)


def _as_text(column: sa.ColumnElement[Any], type_: TypeEngine[Any], kind: Kind) -> sa.ColumnElement[Any]:
    """Text; the padding of a ``char(n)`` is not part of it."""
    text = column if kind is Kind.TEXT else sa.cast(column, sa.Text)
    if isinstance(type_, sa.CHAR):
        text = sa.func.rtrim(text)
    return text


def _null_if_empty(text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.nullif(text, sa.literal_column("''"))


def _cleaner(role: Role, sound: bool) -> Cleaner | None:
    if role is Role.NUMBER:
        return cleaning.clean_numbers
    if role is Role.FLOAT:
        return cleaning.clean_floats
    if sound:
        return None
    if role is Role.LABEL:
        return cleaning.clean_labels
    return cleaning.clean_paths if role in (Role.PATH, Role.EMBEDDING) else cleaning.clean_texts


def _embedding_flag(plan: TablePlan, name: str) -> Cell:
    """Whether the database holds the embedding itself; the vector stays where it is."""
    kind = plan.kinds.get(name)
    if kind is None or kind is Kind.TEXT:
        return Cell(name, default=False)
    column = plan.relation.c[name]
    held: sa.ColumnElement[bool] = column.is_not(None)
    if kind is Kind.ANY:
        held = sa.and_(held, sa.func.typeof(column) != "text")
    return _output(plan, name, held, cleaning.clean_flags)


def _add_time(plan: TablePlan, name: str, clock: Clock) -> Cell | None:
    kind = plan.kinds.get(name)
    if kind is None:
        return None
    column = plan.relation.c[name]
    type_name = SERVER_TIMES.get(kind)
    if type_name is not None:
        local = kind is not Kind.ZONED and not clock.is_utc
        clean = cleaning.local_micros_cleaner(clock) if local else cleaning.clean_micros
        micros = _server_micros(column, type_name)
        if plan.updated is not None:  # the second choice is worked out only where there is no first
            micros = sa.case((plan.relation.c[plan.updated.name].is_(None), micros))
        return _output(plan, name, micros, clean)
    expression = sa.cast(column, sa.Text) if kind is Kind.OTHER else column
    return _output(plan, name, expression, cleaning.time_cleaner(clock))


def _server_micros(column: sa.ColumnElement[Any], type_name: str) -> sa.ColumnElement[Any]:
    """Microseconds computed by the server: its clients cannot hold infinity, or a year before 1."""
    earliest: sa.ColumnElement[Any] = sa.literal_column(f"{type_name} '0001-01-02 00:00:00'")
    latest: sa.ColumnElement[Any] = sa.literal_column(f"{type_name} '9999-12-31 00:00:00'")
    micros = sa.cast(sa.extract("epoch", column) * sa.literal_column("1000000"), sa.BigInteger)
    return sa.case(
        (sa.and_(column >= earliest, column < latest), micros),
        (column.is_not(None), sa.literal_column(str(cleaning.ABSURD_TIME))),
    )


def _make(record: type[PipelineRow], columns: list[Sequence[Any]]) -> list[PipelineRow]:
    """Records from columns in the order of their fields, without a step in Python for each."""
    return list(map(tuple.__new__, repeat(record), zip(*columns, strict=True)))


def _report(dirt: Dirt, name: str) -> Report:
    return lambda place, reason: dirt(name, place, reason)


def missing_columns(spec: TableSpec, columns: dict[str, TypeEngine[Any]]) -> Iterator[Wanted]:
    """What the table would be read for and does not have."""
    for wanted in spec.wanted:
        if wanted.name and wanted.name not in columns:
            yield wanted

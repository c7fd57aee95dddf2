"""A query string becomes a frozen ``Query``, or the 400 that names every bad parameter at once.

Each endpoint declares its parameters as a literal tuple; the same tuple is what ``/openapi.json``
documents. Unknown parameters are ignored, of a repeated one the last counts, an empty value counts as
absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from scanner.records import AssetType, Feature, Kind, Page
from web.problems import ParameterError, bad_parameters

INTEGER_END = 2**63
NOT_UTF8 = "must be UTF-8"


class Query(msgspec.Struct, frozen=True, gc=False):
    """Every parameter that any endpoint has, read and checked; what is absent has its default."""

    page: Page
    q: str | None = None
    phase: str | None = None
    platform: str | None = None
    min_frames: int | None = None
    product_id: str | None = None
    video_id: str | None = None
    has: str | None = None
    urls: bool = False
    kinds: tuple[Kind, ...] = ()
    features: tuple[Feature, ...] = ()
    asset_type: AssetType | None = None
    format: str = "json"
    owner_id: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: how its text is read and how it is documented.

    ``read`` takes the decoded, non-empty text and returns the value for ``Query``, or raises
    ``ValueError`` with what is allowed. ``every`` hands over all repetitions, joined by commas.
    """

    name: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    description: str
    every: bool = False
    style: Mapping[str, Any] = field(default_factory=dict)


def integer(name: str, minimum: int, maximum: int | None, description: str, **schema: Any) -> Parameter:
    """ASCII digits without sign or spaces, within the bounds; without ``maximum`` below 2^63."""
    most = INTEGER_END - 1 if maximum is None else maximum
    allowed = f"an integer of at least {minimum}"
    if maximum is not None:
        allowed = f"an integer from {minimum} to {maximum}"

    def read(given: str) -> int:
        if len(given) > 4000 or not (given.isascii() and given.isdigit()):
            raise ValueError(f"must be {allowed}")
        value = int(given)
        if not minimum <= value <= most:
            raise ValueError(f"must be {allowed}")
        return value

    bounds = {"minimum": minimum, "maximum": most, "format": "int64"}
    return Parameter(name, read, {"type": "integer", **bounds, **schema}, description)


def text(name: str, description: str) -> Parameter:
    """Any text."""
    return Parameter(name, str, {"type": "string"}, description)


def choice(
    name: str, values: Mapping[str, Any], description: str, *, fold: bool = False, default: str | None = None
) -> Parameter:
    """One of a few names; ``fold`` accepts any letter case."""
    allowed = f"must be one of {', '.join(values)}"

    def read(given: str) -> Any:
        try:
            return values[given.lower() if fold else given]
        except KeyError:
            raise ValueError(allowed) from None

    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    if fold:
        schema = {"type": "string", "pattern": f"^({'|'.join(map(_any_case, values))})$"}
    if default is not None:
        schema["default"] = default
    return Parameter(name, read, schema, description)


def _any_case(name: str) -> str:
    """A pattern for the name in any letter case."""
    return "".join(f"[{letter}{letter.upper()}]" for letter in name)


def several(name: str, values: Mapping[str, Any], description: str, *, every: bool) -> Parameter:
    """Some of a few names, separated by commas, and repeated where ``every`` is set."""
    allowed = f"must be one or more of {', '.join(values)}, separated by commas"

    def read(given: str) -> tuple[Any, ...]:
        try:
            return tuple(dict.fromkeys(values[part] for part in given.split(",")))
        except KeyError:
            raise ValueError(allowed) from None

    schema = {"type": "array", "items": {"type": "string", "enum": list(values)}}
    style = {"style": "form", "explode": every}
    return Parameter(name, read, schema, description, every, style)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration says about paging and additive fields."""

    default_limit: int = 20
    max_limit: int = 1000
    urls: bool = False


class ParameterSet:
    """The parameters of one endpoint, ready to read query strings.

    ``sorts`` are the names that ``sort_by`` allows, the first one its default; without any the
    endpoint has no paging. ``include`` tells whether the endpoint has additive fields.
    """

    def __init__(
        self,
        filters: Iterable[Parameter] = (),
        *,
        sorts: tuple[str, ...] = (),
        descending: bool = False,
        include: bool = False,
        limits: Limits,
    ) -> None:
        parameters = list(filters)
        if sorts:
            parameters += _paging(sorts, descending, limits)
        if include:
            parameters.append(several("include", {"urls": "urls"}, "Additive fields.", every=False))
        self.parameters = tuple(parameters)
        self._by_name = {parameter.name: parameter for parameter in parameters}
        page = Page(limits.default_limit, 0, sorts[0] if sorts else "", descending)
        self._page = page
        self._urls = include and limits.urls
        self._absent = Query(page=page, urls=self._urls)

    def parse(self, query: str) -> Query:
        """Read the raw query string (still percent-encoded, bytes as Latin-1).

        Raises the 400 that names all bad parameters.
        """
        if not query:
            return self._absent
        values: dict[str, Any] = {}
        errors: list[ParameterError] = []
        for name, raw in self._last_ones(query).items():
            try:
                decoded = _decode(raw)
                if decoded:
                    values[name] = self._by_name[name].read(decoded)
            except ValueError as exc:
                errors.append(ParameterError(name, str(exc)))
        if errors:
            raise bad_parameters(errors)
        return self._query(values) if values else self._absent

    def _last_ones(self, query: str) -> dict[str, str]:
        """The raw text of each known parameter, in the order in which they were given."""
        known = self._by_name
        found: dict[str, str] = {}
        for part in query.split("&"):
            name, _, raw = part.partition("=")
            parameter = known.get(name) or known.get(_decode_name(name))
            if parameter is None:
                continue
            if parameter.every:
                raw = ",".join(filter(None, (found.get(parameter.name), raw)))
            found[parameter.name] = raw
        return found

    def _query(self, values: dict[str, Any]) -> Query:
        page = self._page
        if self._page.sort_by:
            page = Page(
                values.pop("limit", page.limit),
                values.pop("offset", page.offset),
                values.pop("sort_by", page.sort_by),
                values.pop("order", page.descending),
            )
        urls = bool(values.pop("include", ())) or self._urls
        fields = {_FIELDS.get(name, name): value for name, value in values.items()}
        return Query(page=page, urls=urls, **fields)


_FIELDS = {"kind": "kinds", "feature": "features"}


def _paging(sorts: tuple[str, ...], descending: bool, limits: Limits) -> list[Parameter]:
    order = "desc" if descending else "asc"
    return [
        integer("limit", 1, limits.max_limit, "How many items at most.", default=limits.default_limit),
        integer("offset", 0, None, "How many items to skip.", default=0),
        choice("sort_by", {name: name for name in sorts}, "What to sort by; nulls last.", default=sorts[0]),
        choice("order", {"asc": False, "desc": True}, "In any letter case.", fold=True, default=order),
    ]


def _decode(raw: str) -> str:
    """Undo form encoding; raises ``ValueError`` where the bytes are not UTF-8."""
    if raw.isascii() and "%" not in raw:
        return raw.replace("+", " ")
    try:
        return unquote_to_bytes(raw.replace("+", " ").encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(NOT_UTF8) from None


def _decode_name(raw: str) -> str:
    """A parameter's name, or one that no parameter has."""
    if raw.isascii() and "%" not in raw and "+" not in raw:
        return raw
    try:
        return _decode(raw)
    except ValueError:
        return ""


# --- the filters of the endpoints ------------------------------------------------------------------

HAS = choice(
    "has",
    {name: name for name in ("segment", "embedding", "keypoints", "none", "any")},
    "Only assets that have this artifact, any of the three, or none of them.",
)
KINDS_BY_NAME = {kind.value: kind for kind in Kind}
KINDS = several("kind", KINDS_BY_NAME, "Only findings of these kinds.", every=True)
FEATURES = several(
    "feature", {feature.wire: feature for feature in Feature}, "Only findings about these files.", every=True
)
ASSET_TYPE = choice(
    "asset_type", {asset.wire: asset for asset in AssetType}, "Only findings about assets of this type."
)
FORMAT = choice(
    "format",
    {name: name for name in ("json", "csv", "ndjson")},
    "`csv` and `ndjson` stream all findings that the filters match, whatever `limit` and `offset` say.",
    default="json",
)

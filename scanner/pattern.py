"""One pattern of the layout: text with ``{name}`` in it, matched against paths and filled with names.

``{name}`` stands for one or more characters other than ``/``, taken greedily from the left; a name that
occurs again stands for the same text. ``{ext}`` stands for one of the configured extensions in any letter
case; it is no name, and may only stand in the last part of a path.

A *key* is a path in which ``WILDCARD`` stands for what ``{ext}`` would match. As no path can hold a NUL, a
key is never mistaken for a path with an odd name.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

WILDCARD = "\0"
EXT = "ext"

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_IMPROPER = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")
_LEADING = {"", "/", "."}  # what a key that needs a closer look begins with
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Part(NamedTuple):
    """A piece of a pattern: literal text, or the name of a placeholder."""

    text: str
    is_name: bool


def parse(text: str) -> tuple[Part, ...]:
    """Cut a pattern or a template into its parts.

    Raises ValueError with a line that says what is wrong, for an empty text, a brace without its
    partner or a placeholder that is no name.
    """
    if not text:
        raise ValueError("a pattern must not be empty")
    parts: list[Part] = []
    position = 0
    for found in _PLACEHOLDER.finditer(text):
        _add_literal(parts, text[position : found.start()], text)
        if not found[1].isidentifier():
            raise ValueError(f"{found[0]} in {text!r} is not a name in braces")
        parts.append(Part(found[1], True))
        position = found.end()
    _add_literal(parts, text[position:], text)
    return tuple(parts)


def _add_literal(parts: list[Part], literal: str, text: str) -> None:
    if "{" in literal or "}" in literal:
        raise ValueError(f"{text!r} has a brace without its partner")
    if WILDCARD in literal:
        raise ValueError(f"{text!r} holds a NUL character")
    if literal:
        parts.append(Part(literal, False))


def fold_ext(extension: str) -> str:
    """An extension with its ASCII letters small: the form in which extensions are compared."""
    return extension.lower() if extension.isascii() else extension.translate(_SMALL)


def ext_source(extensions: Sequence[str]) -> str:
    """The regular expression of ``{ext}``; letter case is folded for ASCII letters only."""
    if not extensions:
        return r"(?!)"
    return "(?ai:" + "|".join(re.escape(extension) for extension in extensions) + ")"


class Pattern:
    """One compiled pattern. Immutable; equal texts behave alike.

    ``literals`` is the number of literal characters, ``names`` the placeholders without ``ext``,
    ``depth`` the number of slashes in every path that matches. Raises ValueError for a text that
    cannot be a pattern.
    """

    __slots__ = (
        "_extensions",
        "_order",
        "_regex",
        "depth",
        "has_ext",
        "literals",
        "names",
        "parts",
        "template",
        "text",
    )

    def __init__(self, text: str, extensions: Sequence[str]) -> None:
        self.text = text
        self.parts = parse(text)
        self._extensions = tuple(extensions)
        literal = "".join(part.text for part in self.parts if not part.is_name)
        self.literals = len(literal)
        self.depth = literal.count("/")
        named = {part.text for part in self.parts if part.is_name}
        self.has_ext = EXT in named
        self.names = frozenset(named - {EXT})
        if "{ext}" in text.rpartition("/")[0]:
            raise ValueError(f"{text!r} has {{ext}} in a directory; it may only stand in the last part")
        source, self._order = self.source("name_")
        self._regex = re.compile(source)
        self.template = Template.of_parts(self.parts)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @property
    def prefix(self) -> str:
        """The literal text that every matching path begins with."""
        return "" if self.parts[0].is_name else self.parts[0].text

    @property
    def suffix(self) -> str:
        """The literal text that every matching path ends with."""
        return "" if self.parts[-1].is_name else self.parts[-1].text

    def is_unambiguous(self, extensions: Sequence[str]) -> bool:
        """Whether a path that names were filled into can only be read as those names: no part of it
        holds two placeholders, but for an extension behind a dot."""
        text = self.text
        if text.endswith(".{ext}") and not any("." in extension for extension in extensions):
            text = text.removesuffix("{ext}")
        return all(len(_PLACEHOLDER.findall(part)) <= 1 for part in text.split("/"))

    def source(self, group: str) -> tuple[str, tuple[str, ...]]:
        """The regular expression, its groups called ``group`` + name, and the names in group order."""
        pieces: list[str] = []
        order: list[str] = []
        for text, is_name in self.parts:
            if not is_name:
                pieces.append(re.escape(text))
            elif text in order:
                pieces.append(f"(?P={group}{text})")
            else:
                order.append(text)
                body = ext_source(self._extensions) if text == EXT else "[^/]+"
                pieces.append(f"(?P<{group}{text}>{body})")
        return "".join(pieces), tuple(order)

    def match(self, path: str) -> Mapping[str, str] | None:
        """The text of each name (``ext`` left out) if the whole path matches, else None."""
        groups = self.groups(path)
        if groups is not None:
            groups.pop(EXT, None)
        return groups

    def groups(self, path: str) -> dict[str, str] | None:
        """As ``match``, with the text of ``ext`` where the pattern has it."""
        found = self._regex.fullmatch(path)
        return dict(zip(self._order, found.groups(), strict=True)) if found is not None else None

    def render(self, names: Mapping[str, str]) -> str:
        """The key: names filled in, ``WILDCARD`` for ``{ext}``. Raises KeyError where a name is missing."""
        return self.template.fill(names)


class Template(NamedTuple):
    """Text with names to fill in; ``form`` is a %-format, ``slots`` the names in the order of their use."""

    form: str
    slots: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Template:
        """Parse the template of an id, where ``{ext}`` is a name like any other."""
        return cls._build(parse(text))

    @classmethod
    def of_parts(cls, parts: Iterable[Part]) -> Template:
        """The template that turns names into a key: ``{ext}`` becomes ``WILDCARD``."""
        return cls._build(Part(WILDCARD, False) if part == (EXT, True) else part for part in parts)

    @classmethod
    def _build(cls, parts: Iterable[Part]) -> Template:
        found = tuple(parts)
        form = "".join("%s" if part.is_name else part.text.replace("%", "%%") for part in found)
        return cls(form, tuple(part.text for part in found if part.is_name))

    def fill(self, names: Mapping[str, str]) -> str:
        """The text with every name filled in. Raises KeyError where one is missing."""
        return self.form % tuple([names[slot] for slot in self.slots])


# --- keys -------------------------------------------------------------------------------------------


def encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8, as every name in the index can.

    Of a name on disk: whether it is valid UTF-8 (``os.fsdecode`` makes lone surrogates of other bytes).
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_proper(key: str) -> bool:
    """Whether a directory could list it: no part is empty, ``.`` or ``..``."""
    if "/." not in key and "//" not in key and key[:1] not in _LEADING:
        return key[-1] != "/"
    return not _IMPROPER.search(key)


def is_exact(key: str) -> bool:
    """Whether a key is one path, without a wildcard."""
    return WILDCARD not in key


def key_directory(key: str) -> str:
    """The directory in which every instance of a key lies (``""`` is the data root)."""
    return key.rpartition("/")[0]


def key_prefix(key: str) -> str:
    """What the name of every instance of a key begins with; the whole name of an exact key."""
    return key.rpartition("/")[2].partition(WILDCARD)[0]


def match_key(key: str, path: str, ranks: Mapping[str, int]) -> int | None:
    """The rank of the extension that makes ``path`` an instance of ``key``, else None.

    ``ranks`` maps folded extensions to their rank; an exact key has rank 0.
    """
    holes = key.count(WILDCARD)
    if not holes:
        return 0 if key == path else None
    start = key.index(WILDCARD)
    length = (len(path) - len(key) + holes) // holes
    extension = path[start : start + length] if length > 0 else ""
    rank = ranks.get(fold_ext(extension))
    if rank is None or key.replace(WILDCARD, extension) != path:
        return None
    return rank

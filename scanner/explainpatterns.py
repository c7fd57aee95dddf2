"""Why a pattern of the layout takes a path, or where the path first differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scanner.config import Config
from scanner.layout import Layout
from scanner.pattern import Part, Pattern, fold_ext, is_proper, key_directory, parse
from scanner.records import AssetType, Feature

SECTIONS = {AssetType.VIDEO_FRAME: "frames", AssetType.PRODUCT_IMAGE: "products"}
"""The table of ``[layout]`` that holds the patterns of a type."""


def configured(config: Config) -> Iterator[tuple[AssetType, Feature, int, str]]:
    """Every pattern of the configuration with its type, feature and place in its list."""
    for type, section in SECTIONS.items():
        for feature in Feature:
            for rank, text in enumerate(getattr(getattr(config.layout, section), feature.wire)):
                yield type, feature, rank, text


def pattern_lines(config: Config, layout: Layout, path: str) -> list[str]:
    """One line for each configured pattern: that it takes the path, matches it too, or why it does not."""
    taken = {(place.type, place.feature, place.rank) for place in layout.classify(path)}
    lines = []
    for type, feature, rank, text in configured(config):
        pattern = Pattern(text, config.layout.extensions)
        names = pattern.match(path)
        name = f"layout.{SECTIONS[type]}.{feature.wire} {text}"
        if names is None:
            lines.append(f"{name}: no match, {mismatch(pattern, path, config.layout.extensions)}")
        elif (type, feature, rank) in taken:
            lines.append(f"{name}: matches{_with(names)}")
        else:
            lines.append(f"{name}: matches{_with(names)}, but another pattern takes the file before it")
    return lines


def _with(names: Mapping[str, str]) -> str:
    return " with " + ", ".join(f"{name}={text}" for name, text in sorted(names.items())) if names else ""


def mismatch(pattern: Pattern, path: str, extensions: Sequence[str]) -> str:
    """The first part of a path that differs from a pattern that does not match it."""
    wanted, found = pattern.text.split("/"), path.split("/")
    for want, have in zip(wanted, found, strict=False):
        if Pattern(want, extensions).match(have) is None:
            return f"{have!r} is not {want!r}{_extension(want, have, extensions)}"
    if len(wanted) != len(found):
        return f"it has {_count(len(wanted))}, the path has {_count(len(found))}"
    return "a name that occurs twice in it stands for different texts"


def _count(parts: int) -> str:
    return "1 part" if parts == 1 else f"{parts} parts"


def _extension(want: str, have: str, extensions: Sequence[str]) -> str:
    """A remark where only the extension can be the reason."""
    head, dot, extension = have.rpartition(".")
    known = {fold_ext(allowed) for allowed in extensions}
    if not want.endswith("{ext}") or not dot or not head or fold_ext(extension) in known:
        return ""
    return f": extension {extension!r} is not one of layout.extensions ({', '.join(extensions)})"


def assignments(template: str, text: str) -> Iterator[dict[str, str]]:
    """Every way in which the names of a template can be chosen so that it gives the text."""
    yield from _assigned(parse(template), text, {})


def _assigned(parts: tuple[Part, ...], text: str, names: dict[str, str]) -> Iterator[dict[str, str]]:
    if not parts:
        if not text:
            yield names
        return
    part, rest = parts[0], parts[1:]
    if not part.is_name or part.text in names:
        literal = names[part.text] if part.is_name else part.text
        if text.startswith(literal):
            yield from _assigned(rest, text[len(literal) :], names)
        return
    ends = [len(text)] if not rest else range(1, len(text) + 1)
    for end in ends:
        value = text[:end]
        if not value or "/" in value:
            return
        yield from _assigned(rest, text[end:], {**names, part.text: value})


def image_folders(config: Config, type: AssetType, asset_id: str) -> Iterator[tuple[str, bool]]:
    """Where the patterns can find the image of an id: folders, and whether what is below them counts too."""
    section = getattr(config.layout, SECTIONS[type])
    choices = list(assignments(section.id, asset_id))
    for text in section.image:
        pattern = Pattern(text, config.layout.extensions)
        for names in choices:
            if pattern.names <= names.keys():
                key = pattern.render(names)
                if is_proper(key):
                    yield key_directory(key), False
            else:
                yield pattern.prefix.rpartition("/")[0], True

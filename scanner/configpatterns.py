"""Whether the layout's patterns can be meant: each by itself, and those of one kind of asset together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scanner.configvalues import shown
from scanner.pattern import EXT, parse
from scanner.settings import AssetLayoutConfig

_BAD_FOLDERS = {"", ".", ".."}


def names_of(text: str) -> frozenset[str]:
    """The placeholders of a pattern or template, ``ext`` included."""
    return frozenset(part.text for part in parse(text) if part.is_name)


def template(text: str) -> Iterator[str]:
    """Braces that close, with names in them."""
    try:
        parse(text)
    except ValueError:
        yield f"found {shown(text)}, allowed is text with placeholders in braces, as {{frame}}"


def id_template(text: str) -> Iterator[str]:
    """A template of ids: names of the image's pattern, and nothing that only the file system knows."""
    yield from template(text)
    for forbidden in ("ext", "id"):
        if "{" + forbidden + "}" in text:
            yield f"found {{{forbidden}}} in {shown(text)}, allowed are the names of the image's pattern"


def pattern(text: str) -> Iterator[str]:
    """A path below the data root, with ``{ext}`` in its last part only."""
    bad = list(template(text))
    yield from bad
    if bad:
        return
    folders = text.split("/")
    if _BAD_FOLDERS.intersection(folders) or "\0" in text:
        yield (
            f"found {shown(text)}, allowed is a path relative to data.root, without a slash at either end "
            "and without //, . and .."
        )
    if any("{" + EXT + "}" in folder for folder in folders[:-1]):
        yield f"found {{ext}} in a folder of {shown(text)}, allowed is {{ext}} in the last part only"


def image_pattern(text: str) -> Iterator[str]:
    """As ``pattern``; an image's path gives the id, so that it cannot ask for it."""
    yield from pattern(text)
    if "{id}" in text:
        yield f"found {{id}} in {shown(text)}, allowed in an image's pattern is every other name"


def id_fits(layout: AssetLayoutConfig) -> Iterator[str]:
    """Every image pattern has to give all names of the id."""
    wanted = names_of(layout.id)
    for image in layout.image:
        if missing := wanted - names_of(image):
            yield f"found {_braced(missing)} in {shown(layout.id)}, allowed are the names in {shown(image)}"


def artifact_fits(layout: AssetLayoutConfig, artifacts: Iterable[str]) -> Iterator[str]:
    """Some image pattern has to give all names of an artifact's pattern, ``id`` and ``ext`` aside.

    Where no pattern finds images, the names of the id are taken for theirs.
    """
    sources = [names_of(image) for image in layout.image] or [names_of(layout.id)]
    for artifact in artifacts:
        missing = min((names_of(artifact) - {"id", EXT} - source for source in sources), key=len)
        if missing:
            known = _braced(frozenset().union(*sources, {"id"}) - {EXT})
            yield f"found {_braced(missing)} in {shown(artifact)}, allowed here are {known}"


def owner_named(layout: AssetLayoutConfig, owner: str) -> Iterator[str]:
    """Without a database only the path can say what an image belongs to."""
    for image in layout.image:
        if owner not in names_of(image):
            yield f"found {shown(image)}, allowed without a database.url are patterns with {{{owner}}}"


def _braced(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))

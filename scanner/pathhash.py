"""A stable 64-bit hash of a path, by which the index joins claims and patterns to files."""

from __future__ import annotations

from hashlib import blake2b


def path_hash(text: str) -> int:
    """A signed 64-bit integer, the same in every process; SQLite stores it as its key."""
    digest = blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)

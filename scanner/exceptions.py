"""Every error that the scanner raises on purpose; each is translated where two rooms meet."""

from __future__ import annotations


class SidecarError(Exception):
    """The base of the project's own errors; its text is one line that a person can act upon."""


class ConfigError(SidecarError):
    """The configuration cannot be used; ``problems`` has one line for each mistake in it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PipelineUnavailable(SidecarError):  # noqa: N818 - the field's name for it
    """The pipeline database could not be read; what was mirrored stays in force."""


class IndexFull(SidecarError):  # noqa: N818 - names the state, as ENOSPC does
    """The directory that holds the index has no room left; what is indexed still answers."""

"""``config.toml`` and the environment → frozen sections, or one ConfigError with every mistake."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scanner.configkeys import all_keys, variable_of
from scanner.configloading import Loading
from scanner.exceptions import ConfigError
from scanner.redaction import one_line
from scanner.settings import (
    AssetLayoutConfig,
    ColumnsConfig,
    Config,
    DatabaseConfig,
    DataConfig,
    EmbeddingCheckConfig,
    IndexConfig,
    JobsConfig,
    KeypointsCheckConfig,
    LayoutConfig,
    LogConfig,
    ScanConfig,
    SegmentCheckConfig,
    VerifyConfig,
    WebConfig,
)

__all__ = [
    "AssetLayoutConfig",
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "DatabaseConfig",
    "EmbeddingCheckConfig",
    "IndexConfig",
    "JobsConfig",
    "KeypointsCheckConfig",
    "LayoutConfig",
    "LogConfig",
    "ScanConfig",
    "SegmentCheckConfig",
    "VerifyConfig",
    "WebConfig",
    "all_keys",
    "load_config",
    "variable_of",
]

FILE_VARIABLE = "SIDECAR_CONFIG"
FILE_NAME = "config.toml"


def load_config(
    path: str | None = None, environ: Mapping[str, str] = os.environ, cwd: str | None = None
) -> Config:
    """The configuration of ``path``, else ``$SIDECAR_CONFIG``, else ``config.toml`` in ``cwd``.

    Only the last of the three may be missing; every default then holds. Variables of ``environ`` override
    the file. Relative paths, those in the file as well, start at ``cwd`` (the working directory). Raises
    ConfigError with one line for each mistake in the file and in the variables.
    """
    base = cwd if cwd is not None else str(Path.cwd())
    loading = Loading()
    loading.take_tables(*_find(path, environ, base, loading.problems))
    loading.take_variables(environ)
    config = _with_absolute_paths(_built(Config(), loading.values), base)
    loading.compare(config)
    if loading.problems:
        raise ConfigError([one_line(problem) for problem in loading.problems])
    return config


def _find(
    path: str | None, environ: Mapping[str, str], base: str, problems: list[str]
) -> tuple[dict[str, Any], str]:
    """The tables of the file that counts, and the name under which its problems are reported."""
    named = path if path is not None else environ.get(FILE_VARIABLE) or None
    name = FILE_NAME if named is None else named
    source = (
        ""
        if named is None
        else " (named by --config)"
        if path is not None
        else f" (named by ${FILE_VARIABLE})"
    )
    try:
        return _parsed(Path(base, name).read_bytes()), name
    except FileNotFoundError:
        if named is not None:
            problems.append(f"{name}{source}: there is no such file")
    except OSError as exc:
        problems.append(f"{name}{source}: cannot be read: {exc.strerror or exc}")
    except ValueError as exc:
        problems.append(f"{name}{source}: {exc}")
    return {}, name


def _parsed(content: bytes) -> dict[str, Any]:
    """The tables of a TOML document. Raises ValueError, saying where it is none."""
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ValueError(f"is not UTF-8 (at line {line})") from exc
    except RecursionError as exc:
        raise ValueError("is nested too deeply to be a configuration") from exc
    except ValueError as exc:
        raise ValueError(f"is not TOML: {exc}") from exc


def _built(section: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """A section with the given values in place of its defaults."""
    changes = {}
    for field in dataclasses.fields(section):
        name, value = prefix + field.name, getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = _built(value, values, f"{name}.")
        elif name in values:
            changes[field.name] = values[name]
    return dataclasses.replace(section, **changes)


def _with_absolute_paths(config: Config, base: str) -> Config:
    data = dataclasses.replace(config.data, root=_absolute(config.data.root, base))
    directory = config.index.directory
    if directory != "auto":
        directory = _absolute(directory, base)
    return dataclasses.replace(config, data=data, index=IndexConfig(directory))


def _absolute(path: str, base: str) -> str:
    absolute = os.path.abspath(os.path.join(base, path))
    return absolute[1:] if absolute.startswith("//") else absolute  # POSIX keeps two leading slashes

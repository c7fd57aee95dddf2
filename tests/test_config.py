"""The configuration: defaults, the file, the variables, and every mistake in them told at once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import pickle
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.config import (
    AssetLayoutConfig,
    Config,
    LayoutConfig,
    WebConfig,
    all_keys,
    load_config,
    variable_of,
)
from scanner.configrules import CHECKS
from scanner.exceptions import ConfigError
from scanner.layout import Layout

SHIPPED = Path(__file__).parents[1] / "config.toml"


def value_of(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    found: Any = config
    for name in key.split("."):
        found = getattr(found, name)
    return found


def loaded(tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None) -> Config:
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    return load_config(None, environ or {}, str(tmp_path))


def problems(tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, environ)
    return caught.value.problems


def problem(tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None) -> str:
    """The only problem there is."""
    (line,) = problems(tmp_path, text, environ)
    return line


def check_lines(lines: list[str], origins: tuple[str, ...]) -> None:
    """Each problem is one line, and about one of the origins."""
    assert lines
    for line in lines:
        assert len(line.splitlines()) == 1
        assert line.startswith(origins)


def toml_of(key: str, value: str) -> str:
    """A document with one key."""
    table, _, name = key.rpartition(".")
    return f"[{table}]\n{name} = {value}\n"


# --- keys and defaults ------------------------------------------------------------------------------


def test_without_a_file_every_default_holds(tmp_path: Path) -> None:
    assert load_config(None, {}, str(tmp_path)) == Config()


def test_an_empty_file_is_every_default(tmp_path: Path) -> None:
    assert loaded(tmp_path) == Config()


def test_the_shipped_file_is_every_default() -> None:
    assert load_config(str(SHIPPED), {}) == Config()


def test_the_shipped_file_holds_every_key_and_no_other() -> None:
    def keys(table: Mapping[str, Any], prefix: str = "") -> list[str]:
        found: list[str] = []
        for name, value in table.items():
            nested = isinstance(value, dict) and prefix + name not in all_keys()
            found += keys(value, f"{prefix}{name}.") if nested else [prefix + name]
        return found

    shipped = keys(tomllib.loads(SHIPPED.read_text(encoding="utf-8")))
    assert sorted(shipped) == sorted(all_keys())


def test_every_key_is_listed_once_and_fps_for_frames_only() -> None:
    assert len(set(all_keys())) == len(all_keys())
    assert {"web.port", "layout.frames.fps", "database.path_map", "verify.embedding.dim"} <= set(all_keys())
    assert "layout.products.fps" not in all_keys()


def test_every_check_is_for_a_key_and_every_number_and_path_has_one() -> None:
    unchecked = set(all_keys()) - set(CHECKS)
    assert set(CHECKS) - set(all_keys()) == {"layout.products.fps"}
    assert {type(value_of(Config(), key)) for key in unchecked} == {bool}


def test_the_defaults_themselves_pass_every_check() -> None:
    for key in all_keys():
        if key in CHECKS:
            assert list(CHECKS[key](value_of(Config(), key))) == []


def test_a_configuration_travels_to_other_processes_and_cannot_be_changed() -> None:
    config = Config()
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(Config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.web.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("offset", "seconds"), [("+07:00", 25200), ("-03:30", -12600), ("+00:00", 0), ("-14:00", -50400)]
)
def test_the_offset_is_also_a_number_and_a_zone(offset: str, seconds: int) -> None:
    web = WebConfig(utc_offset=offset)
    assert web.offset_seconds == seconds
    assert web.zone.utcoffset(None) == dt.timedelta(seconds=seconds)


# --- which file -------------------------------------------------------------------------------------


def test_the_option_goes_before_the_variable_and_the_variable_before_the_directory(tmp_path: Path) -> None:
    for port, name in enumerate(["config.toml", "variable.toml", "option.toml"], 1):
        (tmp_path / name).write_text(f"[web]\nport = {port}\n")
    environ = {"SIDECAR_CONFIG": "variable.toml"}
    base = str(tmp_path)
    assert load_config(None, {}, base).web.port == 1
    assert load_config(None, {"SIDECAR_CONFIG": ""}, base).web.port == 1
    assert load_config(None, environ, base).web.port == 2
    assert load_config("option.toml", environ, base).web.port == 3
    assert load_config(str(tmp_path / "option.toml"), environ, "/").web.port == 3


def test_the_working_directory_is_where_the_search_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("[web]\nport = 9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIDECAR_WEB__HOST", "::1")
    web = load_config().web
    assert (web.port, web.host) == (9, "::1")


@pytest.mark.parametrize("name", ["no.toml", "no/such/directory.toml", "with\nbreak.toml"])
def test_a_file_that_is_named_and_not_there_is_one_problem(tmp_path: Path, name: str) -> None:
    for path, environ in ((name, {}), (None, {"SIDECAR_CONFIG": name})):
        with pytest.raises(ConfigError) as caught:
            load_config(path, environ, str(tmp_path))
        (line,) = caught.value.problems
        by = "--config" if path else "$SIDECAR_CONFIG"
        assert line == name.replace("\n", "\\n") + f" (named by {by}): there is no such file"


def test_a_directory_in_place_of_the_file_is_a_problem_and_not_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^config\.toml: cannot be read: Is a directory$"):
        load_config(None, {}, str(tmp_path))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[web\nport = 1", r"is not TOML: .*line 1"),
        (b"[web]\nport = 1\nport = 2\n", r"is not TOML: .*line 3"),
        (b"a = 1\nb = '\xff'", r"is not UTF-8 \(at line 2\)$"),
        (b"a = " + b"[" * 100_000, r"is nested too deeply"),
        (b"a = " + b"9" * 10_000, r"is not TOML: "),
    ],
)
def test_what_is_not_toml_is_one_problem_that_says_where(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^x\.toml \(named by --config\): " + what) as caught:
        load_config("x.toml", {}, str(tmp_path))
    assert len(caught.value.problems) == 1


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, "\ufeff[web]\nport = 5\n").web.port == 5


def test_mistakes_in_variables_are_told_even_where_the_file_is_unusable(tmp_path: Path) -> None:
    lines = problems(tmp_path, "[", {"SIDECAR_WEB__PORT": "x"})
    assert [line.split(":")[0] for line in lines] == ["config.toml", "SIDECAR_WEB__PORT"]


# --- values of the file -----------------------------------------------------------------------------


def test_values_replace_defaults_and_leave_the_rest(tmp_path: Path) -> None:
    text = """
    [data]
    root = "/srv/./files//x/../"
    [layout.frames]
    image = "f/{video_id}/{n}.{ext}"
    id = "{video_id}-{n}"
    segment = ["m/{id}.png", "f/{video_id}/{n}_mask.{ext}"]
    embedding = []
    keypoints = "kp/{id}.npz"
    fps = 25
    [database]
    url = "postgresql://u:p@db/x"
    poll_seconds = 1
    [database.path_map]
    "/app/data" = "/data"
    "." = "/"
    """
    frames = AssetLayoutConfig(
        image=("f/{video_id}/{n}.{ext}",),
        id="{video_id}-{n}",
        segment=("m/{id}.png", "f/{video_id}/{n}_mask.{ext}"),
        embedding=(),
        keypoints=("kp/{id}.npz",),
        fps=25.0,
    )
    config = loaded(tmp_path, text)
    assert config.data.root == "/srv/files"
    assert config.layout == LayoutConfig(frames=frames)
    assert type(config.layout.frames.fps) is float
    assert config.database.path_map == (("/app/data", "/data"), (".", "/"))
    assert config.database.poll_seconds == 1.0
    assert (
        dataclasses.replace(config, data=Config().data, layout=LayoutConfig(), database=Config().database)
        == Config()
    )


@pytest.mark.parametrize(
    ("given", "root"),
    [("files", "{base}/files"), ("//srv//x/", "/srv/x"), ("/", "/"), (".", "{base}"), ("/a/../../b", "/b")],
)
def test_the_data_root_is_absolute_and_normalised(tmp_path: Path, given: str, root: str) -> None:
    assert loaded(tmp_path, toml_of("data.root", f'"{given}"')).data.root == root.format(base=tmp_path)


def test_the_directory_of_the_index_is_absolute_unless_it_is_auto(tmp_path: Path) -> None:
    assert loaded(tmp_path, toml_of("index.directory", '"ram"')).index.directory == f"{tmp_path}/ram"
    assert loaded(tmp_path, toml_of("index.directory", '"auto"')).index.directory == "auto"


@pytest.mark.parametrize(
    ("key", "value", "found", "allowed"),
    [
        ("web.port", '"8080"', "the string '8080'", "an integer"),
        ("web.port", "8080.0", "the number 8080.0", "an integer"),
        ("web.port", "true", "the boolean true", "an integer"),
        ("web.port", "0x" + "f" * 5000, "found a number of thousands of digits", "0 to 65535"),
        ("web.files", "1", "the integer 1", "true or false"),
        ("web.files", '"yes"', "the string 'yes'", "true or false"),
        ("web.host", "[]", "the list []", "a string"),
        ("web.utc_offset", "07:00:00", "the date or time 07:00:00", "a string"),
        ("web.cors_origins", '"*"', "the string '*'", "a list of strings"),
        ("web.include", '["urls", 1]', "the integer 1 in the list", "strings"),
        ("scan.rescan_seconds", "false", "the boolean false", "a number"),
        ("scan.rescan_seconds", '"5"', "the string '5'", "a number"),
        ("layout.frames.image", "{}", "a table", "a list of strings"),
        ("layout.frames.fps", "1e999", "found inf", "a finite number"),
        ("database.path_map", "[]", "the list []", "a table of strings"),
        ("database.path_map", '{ "/a" = 1 }', "the integer 1 for '/a'", "strings"),
        ("database.columns", "1", "the integer 1", "a table"),
        ("verify.embedding.dim", "1" * 400, "found 111", "1 to 2147483647"),
        ("verify.stale_seconds", "1" * 400, "the integer 111", "a number"),
    ],
)
def test_a_wrong_type_names_file_key_value_and_what_is_allowed(
    tmp_path: Path, key: str, value: str, found: str, allowed: str
) -> None:
    line = problem(tmp_path, toml_of(key, value))
    assert line.startswith(f"config.toml: {key}: found ")
    assert found in line
    assert allowed in line.partition("allowed")[2]
    assert len(line) < 250


IMPOSSIBLE = {
    "data.root": ['""', '"\\u0000"'],
    "layout.extensions": ["[]", '[""]', '[".jpg"]', '["a/b"]', '["tar.gz"]', '["{x}"]', '["a b"]'],
    "jobs.default": ['""', '" "'],
    "database.url": [
        '"pipeline.db"',
        '"mysql://u:p@h/db"',
        '"sqlite://"',
        '"sqlite:///"',
        '"sqlite:///:memory:"',
        '"sqlite:///a.db?mode=ro"',
        '"sqlite:relative.db"',
        '"postgresql://h:port/db"',
        '"postgresql://h/db?foo=bar"',
        '"postgresql:/h/db"',
        '" postgresql://h/db"',
        '"POSTGRESQL://h/db"',
    ],
    "database.poll_seconds": ["-1", "0", "nan", "inf", "-inf", "1e300"],
    "database.full_sync_seconds": ["-0.1", "0"],
    "database.overlap_seconds": ["-0.1", "nan", "inf"],
    "database.timezone": [
        '""',
        '"Mars/Base"',
        '"+07:00"',
        '"../etc/passwd"',
        '"America"',
        '"/UTC"',
        '"a\\u0000"',
    ],
    "database.path_map": ['{ "" = "/data" }', '{ "/a" = "" }', '{ "/a\\u0000" = "/b" }'],
    "database.columns.segment": ['""'],
    "database.columns.embedding": ['" "'],
    "database.columns.keypoints": ['"a\\u0000"'],
    "scan.rescan_seconds": ["-1", "0", "nan"],
    "scan.watcher": ['"kqueue"', '""', '"Auto"'],
    "scan.polling_seconds": ["0", "-5"],
    "scan.ignore": ['[""]', '["a/*"]'],
    "verify.stale_seconds": ["-1", "nan"],
    "verify.grace_seconds": ["-0.5", "inf"],
    "verify.workers": ["0", "-1", "100000"],
    "verify.memory_mb": ["63", "-1"],
    "verify.segment.check": ['"none"'],
    "verify.segment.size": ['"video"'],
    "verify.embedding.check": ['"deep"'],
    "verify.embedding.dtype": ['"float31"', '"object"', '"S4"', '"bool"', '"complex64"', '">f4"', '""'],
    "verify.embedding.dim": ["0", "-512"],
    "verify.keypoints.check": ['""'],
    "verify.keypoints.dtype": ['"str"'],
    "verify.keypoints.columns": ["1", "0"],
    "index.directory": ['""', '"/data"', '"/data/index"', '"/x/../data/index"'],
    "web.host": ['""', '"a b"', '"http://a"'],
    "web.port": ["-1", "65536"],
    "web.utc_offset": [
        '"+7:00"',
        '"07:00"',
        '"+14:01"',
        '"+15:00"',
        '"+07:60"',
        '"Z"',
        '"+07:00 "',
        '"+٠٧:٠٠"',
    ],
    "web.cors_origins": [
        '[""]',
        '["example.org"]',
        '["https://example.org/"]',
        '["https://*.org"]',
        '["**"]',
    ],
    "web.default_limit": ["0", "-1", "1001"],
    "web.max_limit": ["0", "19"],
    "web.include": ['["url"]', '[""]', '["urls", "paths"]'],
    "web.processes": ["0", "-2"],
    "log.level": ['"loud"', '"INFO"'],
    "log.format": ['"xml"'],
    "layout.frames.fps": ["-1", "nan", "inf"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in IMPOSSIBLE.items() for value in values]
)
def test_an_impossible_value_is_one_line_about_its_key(tmp_path: Path, key: str, value: str) -> None:
    line = problem(tmp_path, toml_of(key, value))
    about = "web.default_limit (its default)" if (key, value) == ("web.max_limit", "19") else key
    assert line.startswith(f"config.toml: {about}: found ")
    assert "allowed" in line
    assert len(line.splitlines()) == 1


def test_every_key_that_can_be_wrong_is_among_the_impossible_values() -> None:
    patterns = {
        key for key in CHECKS if key.startswith("layout.") and not key.endswith(("extensions", "fps"))
    }
    assert set(IMPOSSIBLE) == (set(CHECKS) & set(all_keys())) - patterns


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("web.port", "0"),
        ("web.port", "65535"),
        ("web.host", '"::"'),
        ("web.utc_offset", '"-14:00"'),
        ("web.utc_offset", '"+13:59"'),
        ("web.max_limit", "20"),
        ("web.default_limit", "1000"),
        ("web.cors_origins", "[]"),
        ("web.cors_origins", '["https://a.example:8443", "http://localhost:3000", "http://[::1]:80"]'),
        ("web.include", '["urls"]'),
        ("verify.grace_seconds", "0"),
        ("verify.keypoints.columns", "2"),
        ("verify.embedding.dtype", '"float16"'),
        ("verify.memory_mb", "64"),
        ("scan.ignore", "[]"),
        ("scan.ignore", '["[a-z]~", "Thumbs.db"]'),
        ("database.timezone", '"Asia/Ho_Chi_Minh"'),
        ("database.overlap_seconds", "0"),
        ("database.url", '"sqlite:////srv/a b@c:d.db"'),
        ("database.url", '"sqlite:///relative.db"'),
        ("database.url", '"postgres://u@h/db"'),
        ("database.url", '"postgresql+psycopg://u:p%40ss@[::1]:5432/db?sslmode=require"'),
        ("index.directory", '"/data2"'),
        ("index.directory", '"/dev/shm"'),
    ],
)
def test_a_value_at_the_edge_is_taken_as_it_is(tmp_path: Path, key: str, value: str) -> None:
    found = value_of(loaded(tmp_path, toml_of(key, value)), key)
    expected = tomllib.loads(f"x = {value}")["x"]
    assert found == (tuple(expected) if isinstance(expected, list) else expected)


def test_the_index_may_be_anywhere_else_when_the_root_is_everything(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[data]\nroot = "/"\n[index]\ndirectory = "/dev/shm"\n')
    assert config.index.directory == "/dev/shm"


# --- names that are no keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("[web]\nprot = 1", "web.prot", "port"),
        ("[wbe]\nport = 1\nhost = 'x'", "wbe", "web"),
        ("port = 1", "port", "web.port"),
        ("[web]\npoll_seconds = 1", "web.poll_seconds", "database.poll_seconds"),
        ("[layout.frame]\nid = 'x'", "layout.frame", "frames"),
        ("[layout.products]\nfps = 25", "layout.products.fps", "layout.frames.fps"),
        ("[web]\nPORT = 1", "web.PORT", "port"),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_was_meant(
    tmp_path: Path, text: str, key: str, meant: str
) -> None:
    line = problem(tmp_path, text)
    assert line.startswith(f"config.toml: {key}: found an unknown key (did you mean {meant}?), allowed in ")


def test_an_unknown_key_like_no_other_is_told_with_all_that_are_allowed(tmp_path: Path) -> None:
    line = problem(tmp_path, "[index]\nzzz = 1")
    assert line == "config.toml: index.zzz: found an unknown key, allowed in [index] are directory"


def test_a_quoted_name_with_dots_is_no_way_into_a_table(tmp_path: Path) -> None:
    lines = problems(tmp_path, '"web.port" = 1\n"a\\nb" = 1\n["verify.segment"]\nsize = "any"\n')
    assert [line.split(": found")[0] for line in lines] == [
        "config.toml: web.port",
        "config.toml: a\\nb",
        "config.toml: verify.segment",
    ]


def test_all_mistakes_of_file_and_environment_are_told_together(tmp_path: Path) -> None:
    text = """
    prot = 1
    [web]
    port = "x"
    utc_offset = "+7"
    include = ["url", "path"]
    default_limit = 5000
    [verify.embedding]
    dim = 0
    """
    environ = {"SIDECAR_SCAN__WATCHER": "kqueue", "SIDECAR_WBE__PORT": "1", "SIDECAR_WEB__PORT": "70000"}
    starts = [
        "config.toml: prot: ",
        "config.toml: web.port: ",
        "config.toml: web.utc_offset: ",
        "config.toml: web.include: found 'url'",
        "config.toml: web.include: found 'path'",
        "config.toml: verify.embedding.dim: ",
        "SIDECAR_SCAN__WATCHER: scan.watcher: ",
        "SIDECAR_WBE__PORT: ",
        "SIDECAR_WEB__PORT: web.port: ",
        "config.toml: web.default_limit: ",
    ]
    lines = problems(tmp_path, text, environ)
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)


# --- patterns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "pattern", "what"),
    [
        ("image", "", "found ''"),
        ("image", "f/{video_id/{n}.jpg", "found 'f/{video_id/{n}.jpg'"),
        ("image", "f/{video_id}}/{n}.jpg", "placeholders in braces"),
        ("image", "f/{video_id}/{}.jpg", "placeholders in braces"),
        ("image", "f/{video_id}/{a b}.jpg", "placeholders in braces"),
        ("image", "/f/{video_id}/{frame}.jpg", "relative to data.root"),
        ("image", "f/{video_id}/{frame}/", "relative to data.root"),
        ("image", "f//{video_id}/{frame}.jpg", "relative to data.root"),
        ("image", "f/../{video_id}/{frame}.jpg", "relative to data.root"),
        ("image", "./f/{video_id}/{frame}.jpg", "relative to data.root"),
        ("image", "f/{video_id}/{frame}/{id}.jpg", "found {id}"),
        ("image", "f/{video_id}/{frame}.{ext}/{frame}.jpg", "found {ext} in a folder"),
        ("segment", "/m/{id}.png", "relative to data.root"),
        ("embedding", "m/{ext}/{id}.png", "found {ext} in a folder"),
        ("keypoints", "m/{id", "placeholders in braces"),
        (
            "segment",
            "m/{other}.png",
            "found {other} in 'm/{other}.png', allowed here are {frame}, {id}, {video_id}",
        ),
        ("id", "", "found ''"),
        ("id", "{frame", "placeholders in braces"),
        ("id", "{frame}.{ext}", "found {ext}"),
        ("id", "{id}", "found {id}"),
        ("id", "{product_id}", "found {product_id} in '{product_id}', allowed are the names in"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(tmp_path: Path, key: str, pattern: str, what: str) -> None:
    line = problem(tmp_path, f"[layout.frames]\n{key} = {json.dumps(pattern)}\n")
    assert line.startswith(f"config.toml: layout.frames.{key}: ")
    assert what in line


@pytest.mark.parametrize(
    "text",
    [
        'image = "f/{video_id}{frame}.{ext}"',
        'image = "f/{video_id}/{video_id}_{frame}.jpg"',
        'image = ["f/{video_id}/{frame}.{ext}", "g/{video_id}/{x}/{frame}.png"]\nsegment = "{x}/{id}.{ext}"',
        'image = "{video_id}/{frame}.{ext}"',
        "image = []",
        'image = []\nid = "{a}"\nsegment = "m/{a}.png"\nembedding = []\nkeypoints = "k/{id}.npz"',
        'segment = "m/{id}.png"\nembedding = "m/{id}/e.{ext}"\nkeypoints = []',
        'id = "{video_id}/{frame}"',
    ],
)
def test_a_pattern_that_can_be_meant_is_taken_and_the_layout_understands_it(
    tmp_path: Path, text: str
) -> None:
    Layout(loaded(tmp_path, f"[layout.frames]\n{text}\n").layout)


def test_defaults_that_no_longer_fit_the_images_are_told_as_such(tmp_path: Path) -> None:
    lines = problems(tmp_path, '[layout.products]\nimage = "p/{product_id}_{n}.jpg"\n')
    keys = ["id", "segment", "embedding", "keypoints"]
    assert [line.split(": found")[0] for line in lines] == [
        f"config.toml: layout.products.{key} (its default)" for key in keys
    ]
    assert all("{image}" in line for line in lines)


def test_an_id_needs_names_that_every_image_pattern_has(tmp_path: Path) -> None:
    text = '[layout.frames]\nimage = ["a/{video_id}/{frame}.jpg", "b/{video_id}.jpg"]\n'
    assert (
        "found {frame} in '{video_id}_frame_{frame}', allowed are the names in 'b/{video_id}.jpg'"
        in problem(tmp_path, text)
    )


@pytest.mark.parametrize(("kind", "owner"), [("frames", "video_id"), ("products", "product_id")])
def test_only_a_database_can_name_the_owner_in_place_of_the_path(
    tmp_path: Path, kind: str, owner: str
) -> None:
    artifacts = "segment = []\nembedding = []\nkeypoints = []\n"
    text = f'[layout.{kind}]\nimage = "f/{{n}}.jpg"\nid = "{{n}}"\n{artifacts}'
    line = problem(tmp_path, text)
    assert line.startswith(f"config.toml: layout.{kind}.image: found 'f/{{n}}.jpg'")
    assert f"{{{owner}}}" in line
    loaded(tmp_path, text, {"SIDECAR_DATABASE__URL": "sqlite:///x.db"})


PIECES = st.lists(
    st.sampled_from(
        ["{video_id}", "{frame}", "{id}", "{ext}", "{", "}", "{}", "a", "/", ".", "..", "{x-y}", "é", "%s"]
    ),
    max_size=8,
).map("".join)


@given(PIECES, PIECES, PIECES)
@settings(max_examples=300, deadline=None)
def test_patterns_are_refused_or_understood_by_the_layout(image: str, id: str, segment: str) -> None:
    environ = {
        "SIDECAR_LAYOUT__FRAMES__IMAGE": json.dumps([image]),
        "SIDECAR_LAYOUT__FRAMES__ID": id,
        "SIDECAR_LAYOUT__FRAMES__SEGMENT": json.dumps([segment]),
        "SIDECAR_LAYOUT__FRAMES__EMBEDDING": "",
        "SIDECAR_LAYOUT__FRAMES__KEYPOINTS": "",
    }
    try:
        config = load_config(None, environ, "/nonexistent")
    except ConfigError as exc:
        check_lines(exc.problems, ("SIDECAR_LAYOUT__FRAMES__",))
        return
    layout = Layout(config.layout)
    path = image.replace("{video_id}", "v").replace("{frame}", "7").replace("{ext}", "jpg")
    assert [found.feature.wire for found in layout.classify(path)] in (["image"], ["segment"])


# --- the environment --------------------------------------------------------------------------------

OVERRIDES: dict[str, tuple[str, Any]] = {
    "data.root": ("/srv", "/srv"),
    "layout.extensions": ("jpg, PNG", ("jpg", "PNG")),
    "layout.frames.image": (
        "a/{video_id}/{frame}.png,b/{video_id}-{frame}.{ext}",
        ("a/{video_id}/{frame}.png", "b/{video_id}-{frame}.{ext}"),
    ),
    "layout.frames.id": ("{video_id},{frame}", "{video_id},{frame}"),
    "layout.frames.segment": ('["m/{id}.png", "n/{id}, x.png"]', ("m/{id}.png", "n/{id}, x.png")),
    "layout.frames.embedding": ("", ()),
    "layout.frames.keypoints": ("['k/{id}.npz',]", ("k/{id}.npz",)),
    "layout.frames.fps": (" 25 ", 25.0),
    "layout.products.image": ("{product_id}/{image}.jpg", ("{product_id}/{image}.jpg",)),
    "layout.products.id": ("{image}", "{image}"),
    "layout.products.segment": ("[]", ()),
    "layout.products.embedding": ("e/{id}", ("e/{id}",)),
    "layout.products.keypoints": ("k/{id}", ("k/{id}",)),
    "jobs.default": ("12", "12"),
    "database.url": ("sqlite:////x.db", "sqlite:////x.db"),
    "database.poll_seconds": ("1e-1", 0.1),
    "database.full_sync_seconds": ("60", 60.0),
    "database.overlap_seconds": ("0", 0.0),
    "database.timezone": ("Asia/Bangkok", "Asia/Bangkok"),
    "database.path_map": ('{"/app/data": "/data"}', (("/app/data", "/data"),)),
    "database.columns.segment": ("masked_local_path", "masked_local_path"),
    "database.columns.embedding": ("e", "e"),
    "database.columns.keypoints": ("k", "k"),
    "scan.rescan_seconds": ("10.5", 10.5),
    "scan.watcher": ("polling", "polling"),
    "scan.polling_seconds": ("1", 1.0),
    "scan.ignore": ("[._]*,*.tmp", ("[._]*", "*.tmp")),
    "verify.content": ("FALSE", False),
    "verify.stale_seconds": ("2", 2.0),
    "verify.grace_seconds": ("0", 0.0),
    "verify.workers": ("+2", 2),
    "verify.memory_mb": ("1024", 1024),
    "verify.segment.check": ("exists", "exists"),
    "verify.segment.size": ("any", "any"),
    "verify.embedding.check": ("exists", "exists"),
    "verify.embedding.dtype": ("float16", "float16"),
    "verify.embedding.dim": ("768", 768),
    "verify.keypoints.check": ("exists", "exists"),
    "verify.keypoints.dtype": ("int32", "int32"),
    "verify.keypoints.columns": ("2", 2),
    "index.directory": ("/mnt/ram", "/mnt/ram"),
    "web.host": ("127.0.0.1", "127.0.0.1"),
    "web.port": ("9000", 9000),
    "web.utc_offset": ("-05:00", "-05:00"),
    "web.cors_origins": ("https://a.example,https://b.example", ("https://a.example", "https://b.example")),
    "web.default_limit": ("50", 50),
    "web.max_limit": ("500", 500),
    "web.include": ("urls", ("urls",)),
    "web.processes": ("2", 2),
    "web.files": ("0", False),
    "log.level": ("debug", "debug"),
    "log.format": ("json", "json"),
}


def test_every_key_has_a_variable_that_overrides_it(tmp_path: Path) -> None:
    assert set(OVERRIDES) == set(all_keys())
    environ = {variable_of(key): text for key, (text, _) in OVERRIDES.items()}
    config = loaded(tmp_path, "", environ)
    for key, (_, value) in OVERRIDES.items():
        assert value_of(config, key) == value, key
        assert type(value_of(config, key)) is type(value), key
        assert value != value_of(Config(), key), key


def test_a_variable_goes_before_the_file(tmp_path: Path) -> None:
    web = loaded(tmp_path, '[web]\nport = 1\nhost = "a"\n', {"SIDECAR_WEB__PORT": "2"}).web
    assert (web.port, web.host) == (2, "a")


def test_a_bad_value_in_the_file_is_told_although_a_variable_overrides_it(tmp_path: Path) -> None:
    line = problem(tmp_path, "[web]\nport = -1\n", {"SIDECAR_WEB__PORT": "2"})
    assert line.startswith("config.toml: web.port: found -1")


def test_variables_without_two_underscores_are_no_overrides(tmp_path: Path) -> None:
    environ = {
        "SIDECAR_PORT": "tcp://10.0.0.1:8080",
        "SIDECAR_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "SIDECAR_SERVICE_HOST": "10.0.0.1",
        "MY_SIDECAR_WEB__PORT": "1",
        "sidecar_web__port": "1",
    }
    assert loaded(tmp_path, "", environ) == Config()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SIDECAR_WBE__PORT", "SIDECAR_WEB__PORT"),
        ("SIDECAR_WEB__PROT", "SIDECAR_WEB__PORT"),
        ("SIDECAR_web__port", "SIDECAR_WEB__PORT"),
        ("SIDECAR_LAYOUT_FRAMES__FPS", "SIDECAR_LAYOUT__FRAMES__FPS"),
        ("SIDECAR__WEB__PORT", "SIDECAR_WEB__PORT"),
        ("SIDECAR_DATABASE__COLUMN__SEGMENT", "SIDECAR_DATABASE__COLUMNS__SEGMENT"),
    ],
)
def test_a_misspelt_variable_is_a_mistake(tmp_path: Path, name: str, meant: str) -> None:
    line = problem(tmp_path, "", {name: "1"})
    assert line.startswith(f"{name}: found a variable for no key (did you mean {meant}?), allowed ")


def test_a_variable_for_a_table_is_told_its_keys(tmp_path: Path) -> None:
    line = problem(tmp_path, "", {"SIDECAR_VERIFY__EMBEDDING": "{}"})
    names = ", ".join(f"SIDECAR_VERIFY__EMBEDDING__{name}" for name in ("CHECK", "DTYPE", "DIM"))
    assert line.endswith(f"for the table verify.embedding, allowed are {names}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SIDECAR_WEB__PORT", ""),
        ("SIDECAR_WEB__PORT", "80.0"),
        ("SIDECAR_WEB__PORT", "8_0"),
        ("SIDECAR_WEB__PORT", "٨"),
        ("SIDECAR_WEB__PORT", "9" * 5000),
        ("SIDECAR_WEB__FILES", "yes"),
        ("SIDECAR_WEB__FILES", ""),
        ("SIDECAR_SCAN__POLLING_SECONDS", "five"),
        ("SIDECAR_SCAN__POLLING_SECONDS", "nan"),
        ("SIDECAR_SCAN__POLLING_SECONDS", "1_0"),
        ("SIDECAR_LAYOUT__EXTENSIONS", ""),
        ("SIDECAR_LAYOUT__EXTENSIONS", "jpg,,png"),
        ("SIDECAR_LAYOUT__EXTENSIONS", "[1]"),
        ("SIDECAR_LAYOUT__EXTENSIONS", "[jpg]"),
        ("SIDECAR_LAYOUT__EXTENSIONS", '["jpg"]\nx = ["a"]'),
        ("SIDECAR_LAYOUT__EXTENSIONS", "[" * 5000 + "]" * 5000),
        ("SIDECAR_DATABASE__PATH_MAP", "/app=/data"),
        ("SIDECAR_DATABASE__PATH_MAP", '["a"]'),
        ("SIDECAR_DATABASE__PATH_MAP", '{"a": 1}'),
        ("SIDECAR_DATA__ROOT", "/data\udcff"),
        ("SIDECAR_LAYOUT__EXTENSIONS", '["\\ud800"]'),
        ("SIDECAR_DATABASE__PATH_MAP", '{"\\ud800": "a"}'),
    ],
)
def test_a_text_that_is_no_value_of_its_key_is_one_line(tmp_path: Path, name: str, text: str) -> None:
    line = problem(tmp_path, "", {name: text})
    key = next(key for key in all_keys() if variable_of(key) == name)
    assert line.startswith(f"{name}: {key}: found ")
    assert "allowed" in line
    line.encode()
    assert len(line) < 300


@pytest.mark.parametrize(
    "text", ['{"/a": "/b", "c": "d"}', '{ "/a" = "/b", c = "d" }', ' {"/a":"/b","c":"d"}\n']
)
def test_a_path_map_is_a_json_object_or_an_inline_table(tmp_path: Path, text: str) -> None:
    config = loaded(tmp_path, '[database.path_map]\n"/old" = "/x"\n', {"SIDECAR_DATABASE__PATH_MAP": text})
    assert config.database.path_map == (("/a", "/b"), ("c", "d"))


def test_an_empty_path_map_takes_the_one_of_the_file_away(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[database.path_map]\n"/old" = "/x"\n', {"SIDECAR_DATABASE__PATH_MAP": ""})
    assert config.database.path_map == ()


@given(st.lists(st.text("abc{}*?.-_ é", min_size=1).map(str.strip).filter(bool), max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_list_reads_the_same_in_all_its_forms(items: list[str]) -> None:
    read = [
        load_config(None, {"SIDECAR_SCAN__IGNORE": text}, "/nonexistent").scan.ignore
        for text in (
            ",".join(items),
            " , ".join(items),
            json.dumps(items),
            json.dumps(items, ensure_ascii=False),
        )
    ]
    assert read == [tuple(items)] * 4


@given(st.integers(0, 65535), st.floats(1e-6, 1e8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_number_or_boolean_reads_back_as_it_was_written(port: int, seconds: float, files: bool) -> None:
    environ = {
        "SIDECAR_WEB__PORT": str(port),
        "SIDECAR_SCAN__RESCAN_SECONDS": repr(seconds),
        "SIDECAR_WEB__FILES": str(files),
    }
    config = load_config(None, environ, "/nonexistent")
    assert (config.web.port, config.scan.rescan_seconds, config.web.files) == (port, seconds, files)


NAMES = st.one_of(
    st.sampled_from(sorted(variable_of(key) for key in all_keys())),
    st.text("ABWEPORT_", max_size=12).map(lambda text: f"SIDECAR_{text}"),
)


@given(st.dictionaries(NAMES, st.text(), max_size=5))
@settings(max_examples=200, deadline=None)
def test_whatever_the_environment_says_it_is_a_configuration_or_lines_about_it(
    environ: dict[str, str],
) -> None:
    try:
        load_config(None, environ, "/nonexistent")
    except ConfigError as exc:
        check_lines(exc.problems, tuple(f"{name}: " for name in environ))


VALUES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=4,
)


def written(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value).replace("\x7f", "\\u007f")


@given(st.dictionaries(st.sampled_from(all_keys()), VALUES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_whatever_the_file_says_it_is_a_configuration_or_lines_about_it(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    lines = [f"{key} = {written(value)}" for key, value in values.items()]
    text = "\n".join(lines)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # json writes surrogate pairs, which TOML does not have
        text = ""
    path.write_text(text, encoding="utf-8")
    try:
        load_config(str(path), {})
    except ConfigError as exc:
        check_lines(exc.problems, (f"{path}: ",))


# --- passwords --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "mysql://bob:hunter2@db/x",
        "postgresql://bob:hunter2@db:port/x",
        "postgresql://bob:hunter2@db/x?foo=bar",
        "postgresql://bob:h%40unter2@db/x?foo=bar",
        "postgresql://db/x?passwort=hunter2&password=h%40unter2",
        "postgresql:/bob:hunter2@db/x",
        "bob:hunter2@db",
        "postgresql//bob:hunter2",
        "mysql://bob:hun ter2@hunter2@db/x",
        "mysql://db/x?password=hunter2",
        "sqlite://bob:hunter2@db",
        "postgres ://bob:hunter2@db/x",
        "x" * 80 + "://bob:hunter2@db/x",
    ],
)
def test_no_line_shows_the_password_of_the_database(tmp_path: Path, url: str) -> None:
    written = json.dumps(url)
    places: list[tuple[str, dict[str, str]]] = [
        (f"[database]\nurl = {written}", {}),
        (
            f"[database]\nurl = [{written}]" if "://" in url and "?" not in url else f"database = {written}",
            {},
        ),
        (f"database = {written}", {}),
        (f"[database]\nurll = {written}", {}),
        ("", {"SIDECAR_DATABASE__URL": url}),
        ("", {"SIDECAR_DATABASE__URLL": url}),
    ]
    for text, environ in places:
        assert "ter2" not in problem(tmp_path, text, environ)


def test_a_password_in_the_wrong_place_is_hidden_as_well(tmp_path: Path) -> None:
    line = problem(tmp_path, '[web]\nhost = "postgresql://bob:hunter2@db/x"\n')
    assert "'postgresql://bob:***@db/x'" in line

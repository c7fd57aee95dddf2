"""The log: one line an event, in either format, and never a password."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.logs import QUIET, JsonFormatter, TextFormatter, configure, redact
from scanner.redaction import one_line, redact_url
from scanner.settings import LogConfig


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def logged(config: LogConfig, stream: io.StringIO | None = None) -> io.StringIO:
    stream = io.StringIO() if stream is None else stream
    configure(config, stream)
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def failure(text: str) -> Any:
    """What ``exc_info`` holds for an error with this text."""
    try:
        raise RuntimeError(text)
    except RuntimeError as exc:
        return type(exc), exc, exc.__traceback__


def record(message: Any, *args: Any, exc_info: Any = None, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("scanner.x", logging.INFO, __file__, 1, message, args, exc_info)
    vars(made).update(extra)
    return made


# --- the shape of an event --------------------------------------------------------------------------


def test_json_has_time_level_logger_message_and_extra_fields() -> None:
    stream = logged(LogConfig(format="json"))
    before = time.time()
    logging.getLogger("scanner.crawl").info("%d files", 3, extra={"seconds": 0.5, "root": "frames"})
    (event,) = events(stream)
    moment = event.pop("time")
    assert event == {
        "level": "info",
        "logger": "scanner.crawl",
        "message": "3 files",
        "seconds": 0.5,
        "root": "frames",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert -0.001 <= dt.datetime.fromisoformat(moment).timestamp() - before < 30


def test_text_shows_the_same_for_people() -> None:
    stream = logged(LogConfig(format="text"))
    logging.getLogger("scanner.crawl").warning("gone", extra={"root": "frames", "why": "no such file"})
    _, _, rest = stream.getvalue().partition(" ")
    assert rest == 'WARNING scanner.crawl: gone root=frames why="no such file"\n'


@pytest.mark.parametrize(
    ("format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_auto_is_text_on_a_terminal_only(format: str, stream: type[io.StringIO], is_json: bool) -> None:
    found = logged(LogConfig(format=format), stream())
    logging.getLogger("x").info("hello")
    assert found.getvalue().startswith("{") is is_json


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogConfig(format="json"))
    logging.getLogger("x").info("hello")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["message"] == "hello"


def test_an_exception_is_one_field_and_one_line() -> None:
    for format in ("json", "text"):
        stream = logged(LogConfig(format=format))
        logging.getLogger("x").error("failed", exc_info=failure("first\nsecond"))
        assert stream.getvalue().count("\n") == 1
        assert "Traceback (most recent call last)" in stream.getvalue()
        assert "RuntimeError: first\\nsecond" in stream.getvalue()


def test_an_exception_keeps_its_lines_inside_the_json_field() -> None:
    event = json.loads(JsonFormatter().format(record("failed", exc_info=failure("x"))))
    assert event["exception"].splitlines()[-1] == "RuntimeError: x"


def test_where_the_event_came_from_is_told_when_asked_for() -> None:
    stream = logged(LogConfig(format="json"))
    logging.getLogger("x").info("here", stack_info=True)
    assert "test_where_the_event_came_from" in events(stream)[0]["stack"]


def test_arguments_that_do_not_fit_lose_no_event() -> None:
    assert json.loads(JsonFormatter().format(record("%d files", "many")))["message"] == "%d files ('many',)"


def test_an_extra_field_never_replaces_a_part_of_the_event() -> None:
    event = json.loads(JsonFormatter().format(record("hello", level="high", time="noon")))
    assert (event["level"], event["level_"], event["time_"]) == ("info", "high", "noon")


def test_values_that_json_has_no_form_for_become_text() -> None:
    made = record("x", nan=float("nan"), path=io.StringIO, items=(1, {"a": b"b"}), none=None, yes=True)
    event = json.loads(JsonFormatter().format(made), parse_constant=pytest.fail)
    assert (event["nan"], event["items"]) == ("nan", [1, {"a": "b'b'"}])
    assert (event["none"], event["yes"]) == (None, True)


@given(st.text(), st.text(), st.text())
@settings(max_examples=150, deadline=None)
def test_every_event_is_one_line_whatever_it_says(message: str, argument: str, field: str) -> None:
    made = record("%s " + message.replace("%", "%%"), argument, field=field, exc_info=failure(message))
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(made)
        assert len(line.splitlines()) == 1
        line.encode()
    assert json.loads(JsonFormatter().format(made))["message"] == redact(f"{argument} {message}")


# --- what is logged ---------------------------------------------------------------------------------


def test_events_below_the_level_are_left_out() -> None:
    stream = logged(LogConfig(level="warning", format="json"))
    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("yes")
    assert [event["message"] for event in events(stream)] == ["yes"]


@pytest.mark.parametrize(
    "name", ["tornado.access", "tornado.general", "watchdog.observers.inotify_buffer", "PIL.Image"]
)
@pytest.mark.parametrize("level", ["debug", "info"])
def test_loggers_that_tell_every_event_are_quiet(name: str, level: str) -> None:
    stream = logged(LogConfig(level=level, format="json"))
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("trouble")
    assert [event["message"] for event in events(stream)] == ["trouble"]


def test_quiet_loggers_do_not_speak_below_the_level() -> None:
    stream = logged(LogConfig(level="error", format="json"))
    logging.getLogger("tornado.access").warning("trouble")
    assert stream.getvalue() == ""


def test_configuring_again_replaces_the_settings_and_leaves_other_handlers_alone() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first = logged(LogConfig(format="json"))
    second = logged(LogConfig(format="json", level="error"))
    logging.getLogger("x").error("once")
    assert first.getvalue() == ""
    assert len(events(second)) == 1
    assert other in logging.getLogger().handlers


# --- passwords --------------------------------------------------------------------------------------

WORDS = st.text("abcXYZ019-_.", min_size=1, max_size=8)
SECRETS = st.text("abcXYZ019-_.:/?#@%!$&'\"()[]{}", min_size=1, max_size=24).map(lambda text: f"q{text}Q")
SCHEMES = st.sampled_from(["postgresql", "postgresql+psycopg", "postgres", "mysql", "redis", "POSTGRESQL"])


@given(SCHEMES, WORDS, SECRETS, WORDS)
@settings(max_examples=200, deadline=None)
def test_no_part_of_an_event_shows_the_password_of_a_database(
    scheme: str, user: str, secret: str, host: str
) -> None:
    url = f"{scheme}://{user}:{secret}@{host}/name"
    made = record("%s is down", url, where={"url": [url]}, exc_info=failure(f"cannot reach {url}"))
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(made)
        for form in (secret, json.dumps(secret)[1:-1]):
            assert form not in line
        assert f"{user}:***@{host}/name is down" in line


@given(SECRETS.filter(lambda secret: "/" not in secret), WORDS)
@settings(max_examples=100, deadline=None)
def test_the_password_of_a_web_address_is_hidden(secret: str, host: str) -> None:
    assert redact(f"see https://bob:{secret}@{host}/a@b") == f"see https://bob:***@{host}/a@b"


def test_a_message_cut_around_the_password_does_not_show_it() -> None:
    line = JsonFormatter().format(record("postgresql://%s:%s@%s/x", "bob", "hunter2", "db"))
    assert "postgresql://bob:***@db/x" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://bob:two words@db/x", "postgresql://bob:***@db/x"),
        ("postgresql://bob:two words@three@db/x", "postgresql://bob:***@db/x"),
        ("postgresql://bob@server:pw@db/x", "postgresql://bob@server:***@db/x"),
        ("postgresql://:pw@db/x", "postgresql://:***@db/x"),
        ("a://b:c@d and e://f:g@h", "a://b:***@d and e://f:***@h"),
        ("a://b:1/c://d:2/\ne://f:g@h", "a://b:1/c://d:2/\ne://f:***@h"),
        (
            "postgresql://db/x?user=bob&password=pw&sslmode=require",
            "postgresql://db/x?user=bob&password=***&sslmode=require",
        ),
        ("host=db password = 'two \\' words' dbname=x", "host=db password = *** dbname=x"),
        ("host=db PASSWORD=pw", "host=db PASSWORD=***"),
    ],
)
def test_passwords_are_found_in_all_their_forms(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "listening on http://127.0.0.1:8080/files/a@2x.png",
        "tcp://10.0.0.1:80 refused bob@example.org",
        "postgresql://bob@db:5432/x",
        "frames/v:1/a@2x.jpg",
        "sqlite:////data/a@b:c.db",
        "password authentication failed for user bob",
        "https://example.org/?q=a:b",
    ],
)
def test_what_is_no_password_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_an_extra_field_called_password_is_hidden() -> None:
    event = json.loads(JsonFormatter().format(record("x", db_password="pw", db={"Password": "pw"})))
    assert (event["db_password"], event["db"]) == ("***", {"Password": "***"})


@given(st.lists(st.sampled_from(["password", "http:", "u", ":", "@", "/", " ", "\n", "1"])).map("".join))
@settings(max_examples=150, deadline=None)
def test_text_without_an_address_or_a_setting_is_left_alone(text: str) -> None:
    plain = text.replace("//", "")
    assert redact(plain) == plain


@pytest.mark.parametrize(
    "piece", ["x://a:", "x://1:1/", "x://a:b ", "x://a:1\n", "http://a:", "http://", "password='", "://:"]
)
def test_long_hostile_text_takes_no_long_time(piece: str) -> None:
    text = piece * (400_000 // len(piece)) + "\n@"
    begin = time.process_time()
    redact(text)
    assert time.process_time() - begin < 3


@given(WORDS, SECRETS, WORDS, st.sampled_from(["://", ":/", ":", "//"]))
@settings(max_examples=100, deadline=None)
def test_an_address_of_any_malformed_kind_hides_its_password(
    user: str, secret: str, host: str, sep: str
) -> None:
    assert secret not in redact_url(f"postgresql{sep}{user}:{secret}@{host}/x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bob:pw@db/x", "postgresql://bob:***@db/x"),
        ("postgresql://bob:pw", "postgresql://bob:***"),
        ("postgresql://bob@db:5432/x", "postgresql://bob@db:5432/x"),
        ("postgresql://db:5432/x", "postgresql://db:5432/x"),
        ("pipeline.db", "pipeline.db"),
        ("postgresql//bob:pw@db", "postgresql//bob:***@db"),
    ],
)
def test_an_address_keeps_what_is_no_password(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_control_characters_are_made_visible() -> None:
    assert one_line("a\r\nb\x1b[31m\u2028\udcff\tc gối") == "a\\r\\nb\\x1b[31m\\u2028\\udcff\tc gối"

"""Passwords taken out of text that a person or a log will see, and control characters made visible."""

from __future__ import annotations

import re

HIDDEN = "***"

_HEAD = re.compile(r"://[^\s:/]*:")
_PORT = re.compile(r"[0-9]+(?:[/?#,\s]|\Z)")
_RUN = re.compile(r"\S*")
_AUTHORITY = re.compile(r"[^\s/]*")
_LINE = re.compile(r"[^\n]*")
_HTTP = ("http", "https", "ws", "wss")
_SETTING = re.compile(
    r"((?:ssl)?password|passwd|pwd)(\s*=\s*)"
    r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s&]+)",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAMED = {"\n": "\\n", "\r": "\\r"}


def redact(text: str) -> str:
    """The text with ``***`` for every password in a URL (``user:***@host``) or behind ``password=``.

    Takes time linear in the text, since clients choose much of what is logged.
    """
    if "://" in text and "@" in text:
        text = _without_passwords(text)
    if "=" in text:
        text = _SETTING.sub(rf"\1\2{HIDDEN}", text)
    return text


def _without_passwords(text: str) -> str:
    pieces: list[str] = []
    position = 0
    while head := _HEAD.search(text, position):
        found, beyond = _password_end(text, head)
        pieces += text[position : head.end()], HIDDEN if found else text[head.end() : beyond]
        position = beyond
    return "".join(pieces) + text[position:]


def _password_end(text: str, head: re.Match[str]) -> tuple[bool, int]:
    """Whether the URL that begins so has a password, and from where on to look for the next.

    In an HTTP address a password ends before the first slash, so that ``http://host:80/a@2x.png`` is left
    alone. In a database's address it may hold anything, spaces included, so all up to the last ``@`` goes.
    """
    start = head.end()
    http = text[max(0, head.start() - 5) : head.start()].lower().endswith(_HTTP)
    run = _end(_AUTHORITY if http else _RUN, text, start)
    at = text.rfind("@", start, run)
    if at < 0 and not http and not _PORT.match(text, start):
        run = _end(_LINE, text, start)
        at = text.find("@", start, run)
        at = text.rfind("@", start, _end(_RUN, text, at)) if at >= 0 else at
    return (True, at) if at >= 0 else (False, run)


def _end(run: re.Pattern[str], text: str, start: int) -> int:
    found = run.match(text, start)
    return found.end() if found else start


def redact_url(url: str) -> str:
    """One text that is known to be a database's address, however malformed, without its password."""
    scheme, separator, rest = url.partition("://")
    head = scheme + separator if separator else ""
    user, colon, tail = (rest if separator else url).partition(":")
    if "@" in tail:
        tail = f"{HIDDEN}@{tail.rpartition('@')[2]}"
    elif colon and "@" not in user and not _PORT.match(tail):
        tail = HIDDEN
    return redact(head + user + colon + tail)


def one_line(text: str) -> str:
    """The text with line breaks and other control characters escaped, so that it stays on one line."""
    return _CONTROL.sub(lambda found: _NAMED.get(found[0]) or _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

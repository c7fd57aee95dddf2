"""Holds a running server to the model: :func:`compare` takes its address, a model and the questions.

:func:`settle` waits until everything the server says is what the model says; a disagreement that lasts is the
failure, told with the question and the place in the answer. By hand, against any server::

    from comparison import compare, Client
    print("\\n".join(compare(Client("http://127.0.0.1:8080"), Model(settings, rows, root))))
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from model import Failure, Finding, Model
from model_diff import differences
from world_queries import Query, baseline, url_of

PROBLEM_KEYS = {"type", "title", "status", "detail"}
SECONDS = 20.0


@dataclass(frozen=True)
class Reply:
    """What the server answered; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    def json(self) -> Any:
        """The body, in which NaN and the like are no JSON."""
        return json.loads(self.raw, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class Client:
    """Asks one server over one connection that is kept open."""

    def __init__(self, base_url: str, timeout: float = 30.0) -> None:
        address = urlsplit(base_url)
        self.connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)

    def get(self, target: str, **headers: str) -> Reply:
        """The answer to a GET of this path and query, sent as they are."""
        try:
            return self._get(target, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            return self._get(target, headers)  # an idle connection that the server ended: once more, anew

    def _get(self, target: str, headers: Mapping[str, str]) -> Reply:
        try:
            self.connection.request(
                "GET", target, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = self.connection.getresponse()
        except OSError:
            self.connection.close()  # or it would be half-way through a request for good
            raise
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, fields, answer.read())

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()


# --- answers ----------------------------------------------------------------------------------------


def compare(client: Client, model: Model, queries: Iterable[Query] | None = None) -> list[str]:
    """All disagreements, one block of text for each question; by default over everything there is."""
    asked = baseline(model) if queries is None else queries
    return [text for query in asked if (text := disagreement(client, model, query))]


def disagreement(client: Client, model: Model, query: Query) -> str | None:
    """How the answer to one question differs from the model's; None if it does not."""
    expected, reply = model.answer(*query), client.get(url_of(query))
    try:
        lines = list(_judged(expected, reply))
    except ValueError as exc:
        lines = [f"{reply.status} with a body that is no JSON ({exc}): {reply.raw[:300]!r}"]
    if not lines and not isinstance(expected, Failure):
        lines = list(_asked_again(client, query, reply))
    return "\n  ".join([f"GET {url_of(query)}  {query}", *lines[:12]]) if lines else None


def _judged(expected: Any, reply: Reply) -> Iterator[str]:
    if isinstance(expected, Failure):
        yield from _of_failure(expected, reply)
    elif reply.status != 200:
        yield f"expected 200, got {reply.status}: {reply.raw[:300]!r}"
    else:
        yield from differences(expected, reply.json())


def _of_failure(expected: Failure, reply: Reply) -> Iterator[str]:
    if reply.status != expected.status:
        yield f"expected {expected}, got {reply.status}: {reply.raw[:300]!r}"
        return
    body = reply.json()
    if not reply.headers.get("content-type", "").startswith("application/problem+json"):
        yield f"an error of type {reply.headers.get('content-type')}"
    if not body.keys() >= PROBLEM_KEYS or body["status"] != expected.status:
        yield f"no problem: {body}"
    named = {error["parameter"] for error in body.get("errors", ())}
    if named != expected.parameters:
        yield f"expected errors for {sorted(expected.parameters)}, got {sorted(named)}"


def _asked_again(client: Client, query: Query, reply: Reply) -> Iterator[str]:
    """The same with its ETag: 304 and nothing, or, if something else moved, the same body."""
    tag = reply.headers.get("etag", "")
    again = client.get(url_of(query), If_None_Match=tag)
    if not tag.startswith('"'):
        yield f"no strong ETag but {tag!r}"
    elif again.status == 304 and again.raw:
        yield "a 304 with a body"
    elif again.status != 304 and (again.status, again.raw) != (200, reply.raw):
        yield f"asked again with its ETag: {again.status} {again.raw[:300]!r}"


# --- findings ---------------------------------------------------------------------------------------


def compare_findings(client: Client, model: Model) -> list[str]:
    """How findings and their counts differ, over everything and for each job."""
    lines = list(_of_findings(client, model, None))
    for job in model.job_ids():
        lines += _of_findings(client, model, job)
    return lines + list(_of_overviews(client))


def _of_overviews(client: Client) -> Iterator[str]:
    """Where an overview is not what the answers that it gathers are, each by itself."""
    page = client.get("/overview?limit=1000&sort_by=job_id&order=asc").json()
    jobs = client.get("/jobs?limit=1000&sort_by=job_id&order=asc").json()
    gathered = [_overview(client, status) for status in jobs["items"]]
    expected = {**jobs, "items": gathered, "verification": client.get("/verification").json()}
    yield from (f"/overview: {line}" for line in differences(expected, page))
    for job in gathered:
        target = f"/jobs/{quote(job['job_id'], safe='')}/overview"
        yield from (f"{target}: {line}" for line in differences(job, client.get(target).json()))


def _overview(client: Client, status: Mapping[str, Any]) -> dict[str, Any]:
    base = f"/jobs/{quote(status['job_id'], safe='')}"
    summary, report = (client.get(f"{base}/{part}").json() for part in ("features/summary", "verification"))
    return {**status, "summary": summary, "verification": report}


def _of_findings(client: Client, model: Model, job: str | None) -> Iterator[str]:
    base = "/verification" if job is None else f"/jobs/{quote(job, safe='')}/verification"
    listed = client.get(f"{base}/findings?limit=1000").json()
    theirs = {_key(item): item for item in listed["items"]}
    if len(theirs) != len(listed["items"]) or listed["total"] != len(theirs):
        yield f"{base}: {listed['total']} findings of which {len(theirs)} differ in asset, feature and kind"
    ours = {finding.key: finding for finding in model.findings(job)}
    for key in sorted(key for key, finding in ours.items() if finding.sure and key not in theirs):
        yield f"{base}: not found {key}, expected {ours[key]}"
    for key in sorted(theirs.keys() - ours.keys()):
        yield f"{base}: unexpected {theirs[key]}"
    for key in sorted(theirs.keys() & ours.keys()):
        yield from (f"{base}: {key} {line}" for line in _of_finding(ours[key], theirs[key]))
    yield from _of_counts(client.get(base).json(), model.verification(job), theirs, base)


def _key(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (item["asset_type"], item["asset_id"], item["feature"], item["kind"])


def _of_finding(expected: Finding, item: Mapping[str, Any]) -> Iterator[str]:
    if item["job_id"] != expected.job_id:
        yield f"expected job {expected.job_id!r}, got {item['job_id']!r}"
    if item["claimed_path"] != expected.claimed_path:
        yield f"expected claimed_path {expected.claimed_path!r}, got {item['claimed_path']!r}"
    if expected.paths is not None and item["path"] not in expected.paths:
        yield f"expected one of {expected.paths}, got {item['path']!r}"


def _of_counts(
    body: Mapping[str, Any], expected: Mapping[str, Any], listed: Mapping[Any, Any], base: str
) -> Iterator[str]:
    if body["assets"] != expected["assets"] or body["job_id"] != expected["job_id"]:
        yield f"{base}: expected {expected}, got {body}"
    counts: dict[tuple[str, str], int] = {}
    for _, _, feature, kind in listed:
        counts[kind, feature] = counts.get((kind, feature), 0) + 1
    said = {(kind, f): n for kind, row in body["findings"].items() for f, n in row.items() if n}
    if said != counts or body["total"] != len(listed):
        yield f"{base}: says {body['findings']} in total {body['total']}, lists {counts}"


# --- waiting ----------------------------------------------------------------------------------------


def settle(client: Client, model: Model, findings: bool = False, seconds: float = SECONDS) -> float:
    """Waits until the server says all that the model says; raises AssertionError if it does not in time."""
    started, queries = time.monotonic(), baseline(model)
    while True:
        lines = _first_disagreements(client, model, queries, findings)
        passed = time.monotonic() - started
        if not lines:
            return passed
        assert passed < seconds, "\n".join([f"still so after {passed:.1f} s:", *lines])
        time.sleep(0.05)


def _first_disagreements(client: Client, model: Model, queries: list[Query], findings: bool) -> list[str]:
    """A few of them; what disagreed is asked first the next time."""
    lines: list[str] = []
    for query in list(queries):
        found = disagreement(client, model, query)
        if found:
            lines.append(found)
            queries.remove(query)
            queries.insert(0, query)
        if len(lines) >= 5:
            return lines
    return lines or (compare_findings(client, model)[:20] if findings else [])

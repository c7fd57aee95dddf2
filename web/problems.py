"""The one error shape: ``application/problem+json`` (RFC 9457) for everything that goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

PROBLEM_JSON = "application/problem+json"
ALLOWED_METHODS = "GET, HEAD, OPTIONS"


class ParameterError(msgspec.Struct, frozen=True):
    """One parameter that cannot be used: its name, and what is allowed instead."""

    parameter: str
    message: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True, rename={"type_": "type"}):
    """The body of every error; ``errors`` is there for bad parameters only."""

    type_: str
    title: str
    status: int
    detail: str
    errors: Sequence[ParameterError] | msgspec.UnsetType = msgspec.UNSET


class Problem(Exception):  # noqa: N818 - the name of the thing in RFC 9457
    """An error that a client is told; raised anywhere below the application, answered there.

    ``detail`` is a sentence for people and never holds a traceback, SQL or a path of the host.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[ParameterError] = (),
        headers: Sequence[tuple[str, str]] = (),
        from_index: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = tuple(headers)
        self.from_index = from_index

    def body(self) -> bytes:
        """The encoded JSON."""
        return msgspec.json.encode(
            ProblemBody(
                type_="about:blank",
                title=HTTPStatus(self.status).phrase,
                status=self.status,
                detail=self.detail,
                errors=self.errors or msgspec.UNSET,
            )
        )


def bad_parameters(errors: Sequence[ParameterError]) -> Problem:
    """400 that names each bad parameter and what is allowed."""
    names = ", ".join(error.parameter for error in errors)
    return Problem(400, f"These query parameters cannot be used: {names}.", errors=errors)


def bad_request(detail: str) -> Problem:
    """400 for a request that is broken in another way than by its parameters."""
    return Problem(400, detail)


def no_such_path() -> Problem:
    """404 for a path that no route serves."""
    return Problem(404, "There is nothing at this path; /openapi.json lists what there is.")


def not_found(what: str) -> Problem:
    """404 for something that the index (and the database) does not know, such as ``job 'j_1'``."""
    return Problem(404, f"There is no {what}.", from_index=True)


def not_ready(what: str) -> Problem:
    """503 in place of 404 as long as the first scan, or the first read of the database, may still find it."""
    return Problem(
        503,
        f"There is no {what} yet: not all files and rows have been looked at for the first time.",
        headers=(("Retry-After", "1"),),
        from_index=True,
    )


def method_not_allowed(method: str) -> Problem:
    """405: everything here is read-only."""
    return Problem(
        405,
        f"{method[:20]} is not allowed; everything here is read-only.",
        headers=(("Allow", ALLOWED_METHODS),),
    )


def internal_error() -> Problem:
    """500: the traceback is in the log, never in the answer."""
    return Problem(500, "The sidecar failed to answer this request; its log says why.")


def raw_response(problem: Problem) -> bytes:
    """The whole HTTP/1.1 response, for connections on which no request could be read."""
    body = problem.body()
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
        f"Content-Type: {PROBLEM_JSON}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body

"""Fixtures of all tests, and the rule that a test leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from checking import one_pool, shared_pool  # noqa: F401 - fixtures
from hypothesis import HealthCheck, settings
from leaks import left_behind, survey
from postgres import postgres, postgres_cluster  # noqa: F401 - fixtures

# Examples are not timed: a machine that runs several things at once is slow now and then. What CI judges is
# the same from run to run; elsewhere each run tries new examples.
settings.register_profile(
    "project",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

# The files that take longest, longest first. A file's tests run one after the other, so that what begins
# with these does not end with one of them alone.
LONG = (
    "test_dashboard",
    "test_endpoints_model",
    "test_kinds",
    "test_checkpool",
    "test_verify",
    "test_acceptance",
    "test_findings",
    "test_serving",
    "test_schemathesis",
    "test_flicker",
    "test_storms",
    "test_previews",
    "test_demo",
    "test_worker_faults",
    "test_worker",
    "test_app",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; where the tests are spread, ``--no-loadscope-reorder`` keeps that order."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or a file descriptor behind."""
    before = survey()
    yield
    left = left_behind(before)
    if left:
        pytest.fail("left behind: " + "; ".join(sorted(left)), pytrace=False)

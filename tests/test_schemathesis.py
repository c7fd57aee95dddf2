"""The server held to its own OpenAPI document by schemathesis: answers, headers and errors.

``SCHEMATHESIS_EXAMPLES`` is how many requests it invents for each operation (12 by default).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Site, serving_demo

from web.app import ROUTES

pytest.importorskip("schemathesis")

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "12"))
JOB = "job_pillow"
# What a file may answer to a well-formed question: schemathesis by itself knows of no range that is too far.
ACCEPTED = ("2xx", "3xx", "401", "403", "404", "409", "416", "429", "5xx")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving_demo(tmp_path_factory.mktemp("schemathesis")) as made:
        yield made


def known(site: Site) -> str:
    """A configuration with names that there are, so that answers are more than 404."""
    asset = next(
        item
        for item in site.json(f"/jobs/{JOB}/assets?asset_type=video_frame&limit=500")["items"]
        if item["has_segment"] and item["has_embedding"] and not item["findings"]
    )
    record = site.json(f"/assets/video_frame/{asset['asset_id']}")
    files = {file["feature"]: file["path"] for file in record["files"]}
    image = site.json(f"/jobs/{JOB}/images")["items"][0]["img_id"]
    given = {
        "/files/{path}": {"path": files["image"]},
        "/thumbnails/{path}": {"path": files["image"]},
        "/overlays/{path}": {"path": files["segment"]},
        "/artifacts/{path}": {"path": files["embedding"]},
        "/docs/{path}": {"path": "style.css"},
        "/dashboard/{part}": {"part": "app.js"},
        "/features/product-images/{img_id}": {"img_id": image},
        "/features/video-frames/{frame_id}": {"frame_id": asset["asset_id"]},
        "/assets/{asset_type}/{asset_id}": {"asset_type": "video_frame", "asset_id": asset["asset_id"]},
    }
    checks = f"[operations.checks.positive_data_acceptance]\nexpected-statuses = {list(ACCEPTED)}\n"
    common = f'[parameters]\n"path.job_id" = "{JOB}"\n"path.video_id" = "{asset["owner_id"]}"\n'
    return common + "".join(
        f'[[operations]]\ninclude-path = "{path}"\n[operations.parameters]\n'
        + "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items())
        + (checks if path == "/files/{path}" else "")
        for path, names in given.items()
    )


@pytest.mark.parametrize("names", ["any", "known"])
def test_no_answer_differs_from_the_document(site: Site, tmp_path: Path, names: str) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(known(site) if names == "known" else "", encoding="utf-8")
    program = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                program,
                "--config-file",
                str(config),
                "run",
                f"{site.address}openapi.json",
            ),
            *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES)),
            *("--request-timeout", "30", "--no-color"),
            *(["--generation-deterministic"] if os.environ.get("CI") else []),
        ],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None, done.stdout
    assert int(tested[1]) == len(ROUTES) - 1  # it leaves the document itself out
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases is not None, done.stdout
    assert cases[1] == cases[2]
    assert ("Missing test data" in done.stdout) is (names == "any")

"""``sidecar explain PATH|ID``: the explanation as text, with what each endpoint answers."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from scanner.config import Config
from scanner.exceptions import SidecarError
from scanner.explain import AssetAnswer, Explanation, explain
from scanner.records import AssetType
from web.payloads import Payloads, file_url

LISTED, NOT_LISTED, NOT_LOOKED = 0, 1, 2


def run(config: Config, args: Namespace) -> int:
    """Explain ``args.target`` on standard output.

    Returns 0 where it is in the lists of a job, 1 where it is not, 2 where it could not be looked at.
    """
    try:
        answer = explain(config, args.target, str(Path.cwd()))
    except (SidecarError, OSError) as error:
        print(f"sidecar explain: {error}", file=sys.stderr)
        return NOT_LOOKED
    for line in report(config, answer):
        print(_printable(line))
    if answer.failed:
        return NOT_LOOKED
    return LISTED if answer.listed else NOT_LISTED


def report(config: Config, answer: Explanation) -> Iterator[str]:
    """The lines of the answer."""
    yield answer.target if answer.path is None else os.path.join(config.data.root, answer.path)
    yield from (f"  {line}" for line in answer.file_lines)
    payloads = Payloads(config.data.root, config.web.zone)
    for asset in answer.assets:
        yield ""
        yield f"{asset.type.wire} {asset.asset_id}"
        yield from (f"  {line}" for line in asset.lines)
        yield from (f"  {line}" for line in _endpoints(config, payloads, asset, answer.path))
    yield from _last_lines(answer)


def _last_lines(answer: Explanation) -> Iterator[str]:
    yield ""
    yield from (f"note: {note}" for note in answer.notes)
    yield from (f"could not look: {line}" for line in answer.failed)
    if not answer.failed:
        yield "listed: yes" if answer.listed else f"listed: no, {_why_not(answer)}"


def _why_not(answer: Explanation) -> str:
    """The one reason that comes first."""
    if not answer.assets:
        return "it belongs to no asset (see above)"
    for asset in answer.assets:
        if asset.item is not None and asset.uses:
            return asset.jobless or "its content is corrupt"
    if any(asset.item is not None for asset in answer.assets):
        return "the asset uses another file or none (see above)"
    return "no image of the asset is on disk"


def _endpoints(config: Config, payloads: Payloads, asset: AssetAnswer, path: str | None) -> Iterator[str]:
    """What each endpoint makes of an asset."""
    item = asset.item
    frame = asset.type is AssetType.VIDEO_FRAME
    kind = "video-frames" if frame else "product-images"
    detail = f"GET /features/{kind}/{quote(asset.asset_id, safe='')}"
    if item is None:
        yield f"{detail}: 404, and in no list: no image of it is on disk"
        return
    urls = "urls" in config.web.include
    whole = payloads.video_frame(item, urls) if frame else payloads.product_image(item, urls)
    short = payloads.frame(item, urls) if frame else payloads.image(item, urls)
    yield f"{detail}: {_json(whole)}"
    for job in asset.jobs:
        base = f"GET /jobs/{quote(job, safe='')}"
        if not frame:
            yield f"{base}/images: {_json(short)}"
        elif item.owner_id is not None:
            yield f"{base}/videos/{quote(item.owner_id, safe='')}/frames: {_json(short)}"
        else:
            yield f"{base}/videos/…/frames: not in it, neither path nor row names a video"
        yield f"{base}/features/{kind}: {_json(whole)}"
    if not asset.jobs:
        yield f"GET /jobs/…: {asset.jobless}"
    yield from _file(config, asset, path or item.image_path)


def _file(config: Config, asset: AssetAnswer, path: str) -> Iterator[str]:
    if not config.web.files:
        yield f"GET {file_url(path)}: 404, web.files is off"
    elif asset.uses:
        yield f"GET {file_url(path)}: the bytes"
    else:
        yield f"GET {file_url(path)}: 404, the asset does not use this file"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _printable(line: str) -> str:
    """The line with what a terminal cannot show, or would obey, spelled out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)

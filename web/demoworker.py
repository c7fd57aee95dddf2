"""The demo's simulated worker: adds, finishes, breaks and repairs artifacts, and moves the jobs along."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable

import numpy as np

from web import demopictures as pictures
from web.demoworld import FEATURES, Asset, World, videos

_PHASES = ("collection", "feature_extraction", "matching", "evidence", "completed")
_MOST_BROKEN = 9
_MOST_ASSETS = 260
_STEPS_A_PHASE = 15


class Worker:
    """Changes a world step by step; ``broken`` says of each broken artifact how it was broken."""

    def __init__(self, world: World, seed: int = 7) -> None:
        self.world = world
        self.broken: dict[tuple[str, str], str] = {}
        self._chance = random.Random(seed)
        self._steps = 0
        self._numbers = {video_id: 1 + self._last_frame(video_id) for video_id in videos()}

    def break_each_way(self) -> None:
        """Break one artifact in each way, so that there is something to find from the beginning."""
        for way in WAYS:
            self._break(way)

    def run(self, stopping: threading.Event) -> None:
        """Take a step every half second to second until ``stopping`` is set."""
        while not stopping.wait(self._chance.uniform(0.5, 1.0)):
            self.step()

    def step(self) -> str:
        """Do one thing, and say in a few words what it was."""
        self._steps += 1
        if self._steps % _STEPS_A_PHASE == 0:
            return self._move_a_job()
        action = self._chance.choices(
            (self._finish_some, self._add, self._break, self._repair), weights=(5, 2, 2, 2)
        )[0]
        return action()

    # --- steps -------------------------------------------------------------------------------------

    def _finish_some(self) -> str:
        """A few artifacts are made; where all are there, some are to be made anew."""
        missing = [
            (asset, feature)
            for asset in self.world.assets.values()
            for feature in FEATURES
            if (asset.id, feature) not in self.world.done
        ]
        if not missing:
            return self._start_over()
        for asset, feature in self._chance.sample(missing, min(3, len(missing))):
            self.world.finish(asset, feature)
        return "finished artifacts"

    def _start_over(self) -> str:
        for asset, feature in self._chance.sample(self._intact(), 40):
            self.world.discard(asset, feature)
        return "discarded artifacts"

    def _add(self) -> str:
        """A video gets its next frame, as long as the demo stays small."""
        if len(self.world.assets) >= _MOST_ASSETS:
            return self._finish_some()
        video_id = self._chance.choice(videos())
        asset = self.world.frame(video_id, self._numbers[video_id])
        self._numbers[video_id] += 1
        self.world.add(asset)
        return f"added {asset.id}"

    def _break(self, way: str | None = None) -> str:
        if len(self.broken) >= _MOST_BROKEN:
            return self._repair()
        chosen = way or self._chance.choice(tuple(WAYS))
        feature, harm = WAYS[chosen]
        intact = [asset for asset, made in self._intact() if made == feature]
        if not intact:
            return self._finish_some()
        asset = self._chance.choice(intact)
        harm(self.world, asset)
        self.broken[asset.id, feature] = chosen
        return f"broke {asset.id}: {chosen}"

    def _repair(self) -> str:
        """What has been broken longest is made again."""
        if not self.broken:
            return self._finish_some()
        asset_id, feature = next(iter(self.broken))
        self.world.finish(self.world.assets[asset_id], feature)
        del self.broken[asset_id, feature]
        return f"repaired {asset_id}"

    def _move_a_job(self) -> str:
        job_id = self._chance.choice(tuple(self.world.phases))
        after = _PHASES.index(self.world.phases[job_id]) + 1
        phase = _PHASES[after] if after < len(_PHASES) else _PHASES[1]  # what is there has been collected
        self.world.set_phase(job_id, phase)
        return f"moved {job_id} to {phase}"

    # --- means -------------------------------------------------------------------------------------

    def _intact(self) -> list[tuple[Asset, str]]:
        done = sorted(self.world.done - self.broken.keys())
        return [(self.world.assets[asset_id], feature) for asset_id, feature in done]

    def _last_frame(self, video_id: str) -> int:
        return max(int(asset.name) for asset in self.world.assets.values() if asset.owner == video_id)


def _truncate(world: World, asset: Asset) -> None:
    world.write(asset, "segment", asset.made("segment")[:-40])


def _wrong_size(world: World, asset: Asset) -> None:
    width, height = asset.size
    world.write(asset, "segment", pictures.mask(asset.seed, (width // 2, height // 2)))


def _not_a_number(world: World, asset: Asset) -> None:
    values = np.frombuffer(asset.made("embedding"), "<f4").copy()
    values[3] = np.nan
    world.write(asset, "embedding", values.tobytes())


def _empty(world: World, asset: Asset) -> None:
    world.write(asset, "embedding", b"")


def _outside(world: World, asset: Asset) -> None:
    rows = np.frombuffer(asset.made("keypoints"), "<f4").reshape(-1, 3).copy()
    rows[0, 0] = asset.size[0] + 50
    world.write(asset, "keypoints", rows.tobytes())


def _delete(world: World, asset: Asset) -> None:
    world.file(asset, "keypoints").unlink()


def _forget(world: World, asset: Asset) -> None:
    world.claim(asset, "segment", None)


def _outdate(world: World, asset: Asset) -> None:
    image = world.file(asset, "image").stat()
    os.utime(world.file(asset, "keypoints"), ns=(image.st_mtime_ns, image.st_mtime_ns - 60 * 10**9))


WAYS: dict[str, tuple[str, Callable[[World, Asset], None]]] = {
    "a mask is cut off": ("segment", _truncate),
    "a mask has another size than its image": ("segment", _wrong_size),
    "an embedding holds a NaN": ("embedding", _not_a_number),
    "an embedding is empty": ("embedding", _empty),
    "a keypoint lies outside of its image": ("keypoints", _outside),
    "keypoints are deleted": ("keypoints", _delete),
    "keypoints are older than their image": ("keypoints", _outdate),
    "a mask is not recorded": ("segment", _forget),
}

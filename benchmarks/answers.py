"""How fast answers are, as ratios to a bare Tornado handler that returns the same number of bytes.

    python -m benchmarks.answers --scale 1

makes the large world (see ``benchmarks.largeworld``; ``--keep DIR`` makes it there once and uses it again),
starts ``sidecar serve`` over it with content checks off, and measures, each beside its yardstick:

* every list and detail, each request another one: random pages, filters, orders;
* the same request again, with 304 and with gzip;
* status and summary while 500 files a second change;
* pages behind 80 % of a list against its first page, for every order and filter;
* searches of images, new and repeated;
* the 99th percentile at a fifth of the peak rate: idle, in a full reconciliation, a storm, content checks;
* the first answer after the start; a second web process.

``--only`` names some of these. wrk must be installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from benchmarks.beside import bare, beside
from benchmarks.largeworld import JOB, Size, make_world, storm_arguments
from benchmarks.load import Connection, Latency, at_rate, peak
from benchmarks.realworld import make_real_world
from benchmarks.sidecar import UNDISTURBED, Sidecar, cpu_seconds, get
from benchmarks.targets import HAS, distinct, endpoints, mixed, polling

SECONDS = 1.0  # of each of the two measurements of a rate
GZIP = {"Accept-Encoding": "gzip"}
PARTS = ("pages", "repeated", "changing", "deep", "search", "latency", "processes")


class Rate(NamedTuple):
    """Requests a second, and the processor time of each in microseconds."""

    requests: float
    micros: float


class Bench:
    """One sidecar over one world, and the yardstick."""

    def __init__(self, sidecar: Sidecar, yardstick: tuple[int, int], size: Size) -> None:
        self.sidecar, self.port, self.size = sidecar, sidecar.port, size
        self._bare_port, self._bare_pid = yardstick

    def is_idle(self) -> bool:
        """Whether the web process has nothing more to do, such as dividing lists that were asked for."""
        before = cpu_seconds(self.sidecar.pid)
        time.sleep(0.5)
        return cpu_seconds(self.sidecar.pid) - before < 0.05

    def compare(
        self, what: str, targets: list[str], least: float, size: int, headers: Mapping[str, str] | None = None
    ) -> None:
        """One line: a rate beside that of the bare handler, each measured twice in turn.

        The processor time of a request is shown too: it tells the two apart also on a busy machine.
        """
        ours, bare = [], []
        for part in (0, 1):
            bare.append(_rate(self._bare_port, self._bare_pid, [f"/{size}"], None))
            start = part * len(targets) // 2
            ours.append(_rate(self.port, self.sidecar.pid, targets[start:] + targets[:start], headers))
        us, yardstick = _mean(ours), _mean(bare)
        beside = f"bare {yardstick.requests:5.0f}/s, {size} B;"
        cpu = f"cpu {us.micros:4.0f} : {yardstick.micros:4.0f} µs"
        line(what, f"{us.requests:6.0f}/s", f"{beside:22} {cpu}", us.requests / yardstick.requests, least)


def _rate(port: int, pid: int, targets: list[str], headers: Mapping[str, str] | None) -> Rate:
    before, started = cpu_seconds(pid), time.perf_counter()
    rate = peak(port, targets, SECONDS, headers=headers)
    asked = rate * (time.perf_counter() - started)
    return Rate(rate, (cpu_seconds(pid) - before) / asked * 1e6)


def _mean(rates: list[Rate]) -> Rate:
    return Rate(*(statistics.mean(values) for values in zip(*rates, strict=True)))


def line(what: str, figure: str, beside: str, ratio: float, target: float, *, most: bool = False) -> None:
    """One line of the report; ``most`` where the ratio is to stay below the target."""
    met = ratio <= target if most else ratio >= target
    sign = "≤" if most else "≥"
    print(
        f"{what:38} {figure:>12}   {beside:40} {ratio:6.2f}  {sign} {target:<5} {'' if met else 'short'}",
        flush=True,
    )


def title(text: str) -> None:
    """What follows."""
    print(f"\n{text}", flush=True)


def body_size(port: int, targets: list[str]) -> int:
    """The mean number of bytes of some answers."""
    answers = [get(port, target) for target in targets[:40]]
    bad = [target for target, (status, _, _) in zip(targets, answers, strict=False) if status != 200]
    if bad:
        raise RuntimeError(f"not answered: {bad[0]}")
    return round(statistics.mean(len(body) for _, body, _ in answers))


# --- the parts --------------------------------------------------------------------------------------------


def measure_pages(bench: Bench) -> None:
    """Every list and detail, each request another one."""
    title("every list and detail, random pages and filters, index unchanged")
    peak(bench.port, mixed(bench.size, 20_000, seed=9), 4 * SECONDS)  # what is remembered once is remembered
    bench.sidecar.until(bench.is_idle, 60)
    for name, make in endpoints().items():
        targets = distinct(make, bench.size, 40_000)
        bench.compare(name, targets, 0.5, size=body_size(bench.port, targets))


def measure_repeated(bench: Bench) -> None:
    """A polling tab."""
    title("the same request again: whole, 304, gzip")
    lists = (f"/jobs/{JOB}/features/video-frames?limit=20", f"/jobs/{JOB}/images?limit=20")
    for target in (*polling(), *lists):
        name = target.removeprefix(f"/jobs/{JOB}")
        _, body, etag = get(bench.port, target)
        bench.compare(name, [target], 0.85, size=len(body))
        condition = {"If-None-Match": etag}
        bench.compare(f"{name} 304", [target], 0.85, headers=condition, size=0)
        _, packed, _ = get(bench.port, target, {"Accept-Encoding": "gzip"})
        bench.compare(f"{name} gzip", [target], 0.85, headers=GZIP, size=len(packed))


def measure_changing(bench: Bench) -> None:
    """Status and summary while files change; the yardstick meanwhile too."""
    title("while 500 files a second change (the bare handler meanwhile)")
    with beside(*storm_arguments(bench.sidecar.root, 500)):
        time.sleep(2)
        for target in list(polling())[:2]:
            before = bench.sidecar.health()["index"]["version"]
            bench.compare(
                target.removeprefix(f"/jobs/{JOB}"), [target], 0.5, size=body_size(bench.port, [target])
            )
            if bench.sidecar.health()["index"]["version"] == before:
                raise RuntimeError("the index has not changed meanwhile")
    bench.sidecar.settled()


def measure_deep(bench: Bench) -> None:
    """Pages behind most of a list, when first asked and then."""
    title("behind 80 % of a list: first asked (ms), then against its first page (medians of 20)")
    frames, images = ("updated_at", "frame_id", "ts"), ("updated_at", "img_id")
    lists = [("features/video-frames", sort, has) for sort in frames for has in HAS]
    lists += [("features/product-images", sort, has) for sort in images for has in HAS]
    lists += [("images", sort, "") for sort in ("img_id", "updated_at")]
    for path, sort, has in lists:
        for order in ("asc", "desc"):
            _deep(
                bench,
                f"/jobs/{JOB}/{path}?sort_by={sort}&order={order}&has={has}",
                f"{path} {sort} {order} {has}",
            )


def _deep(bench: Bench, target: str, name: str) -> None:
    with touched(bench):
        pass
    total = int(get(bench.port, f"{target}&limit=1")[1].rpartition(b'"total":')[2].split(b",")[0])
    far = total * 4 // 5
    first = timed(bench.port, [f"{target}&limit=20&offset={far}"])[0]
    time.sleep(0.5)
    head = statistics.median(timed(bench.port, [f"{target}&limit=20&offset={n}" for n in range(1, 21)]))
    tail = statistics.median(timed(bench.port, [f"{target}&limit=20&offset={far + n}" for n in range(1, 21)]))
    met = "" if first < 30 else "first: short"
    line(name, f"{first:6.1f} ms", f"{head:.2f} → {tail:.2f} ms {met}", tail / head, 3, most=True)


def measure_search(bench: Bench) -> None:
    """Searches of product images."""
    title("q over the job's images: first asked (≤ 30 ms), then its other pages against pages without q")
    plain = statistics.median(
        timed(bench.port, [f"/jobs/{JOB}/images?limit=20&offset={n}" for n in range(21, 41)])
    )
    for q in ("pillow", "gối", "img_3", "p_00", "zzz", "a"):
        with touched(bench):
            pass
        target = f"/jobs/{JOB}/images?limit=20&q={quote(q)}"
        first = timed(bench.port, [target])[0]
        again = statistics.median(timed(bench.port, [f"{target}&offset={n}" for n in range(1, 21)]))
        met = "" if first < 30 else "first: short"
        line(f"q={q}", f"{first:6.1f} ms", f"{plain:.2f} → {again:.2f} ms {met}", again / plain, 2, most=True)


@contextlib.contextmanager
def touched(bench: Bench) -> Iterator[None]:
    """A file has changed, and the index with it."""
    before = bench.sidecar.health()["index"]["version"]
    path = bench.sidecar.root / "products" / "p_00000" / "0.jpg"
    path.write_bytes(b"x")
    bench.sidecar.until(lambda: bench.sidecar.health()["index"]["version"] != before, 20)
    bench.sidecar.settled()
    yield


def timed(port: int, targets: list[str]) -> list[float]:
    """Milliseconds of each request, one after the other on one connection."""

    async def run() -> list[float]:
        connection = await Connection.open(port)
        await connection.get("/healthz")
        times = []
        for target in targets:
            started = time.perf_counter()
            status, _ = await connection.get(target)
            times.append((time.perf_counter() - started) * 1000)
            if status != 200:
                raise RuntimeError(f"{status} for {target}")
        connection.close()
        return times

    return asyncio.run(run())


def measure_latency(bench: Bench) -> None:
    """The 99th percentile at a fifth of the peak, idle and while the scanner is busy."""
    title("99th percentile at 20 % of the peak of all endpoints mixed")
    targets = mixed(bench.size, 60_000)
    rate = peak(bench.port, targets, 4 * SECONDS) / 5
    print(f"a fifth of the peak: {rate:.0f} requests a second", flush=True)
    idle = at_rate(bench.port, targets, rate, 6)
    _latency("idle", idle, idle)
    os.kill(bench.sidecar.scanner(), signal.SIGTERM)  # another one takes the index over and reads everything
    time.sleep(0.5)
    _latency("full reconciliation", at_rate(bench.port, targets[20_000:], rate, 6), idle)
    bench.sidecar.ready()
    with beside(*storm_arguments(bench.sidecar.root, 500)):
        time.sleep(1)
        _latency("500 files a second change", at_rate(bench.port, targets[40_000:], rate, 6), idle)
    bench.sidecar.settled()


def measure_checks(base: Path) -> None:
    """The same during content checks, over files that have content."""
    size = make_real_world(base)
    targets = mixed(size, 60_000)
    with Sidecar(base, UNDISTURBED) as sidecar:
        sidecar.ready()
        rate = peak(sidecar.port, targets, 4 * SECONDS) / 5
        idle = at_rate(sidecar.port, targets, rate, 6)
    with Sidecar(base, {**UNDISTURBED, "SIDECAR_VERIFY__CONTENT": "true"}) as sidecar:
        sidecar.complete()
        checking = at_rate(sidecar.port, targets, rate, 6)
        left = sidecar.health()["pending"]["validations"]
    _latency(f"content checks ({left} files left)", checking, idle)


def _latency(name: str, latency: Latency, idle: Latency) -> None:
    beside = f"p50 {latency.p50:.1f}, worst {latency.worst:.0f} ms"
    met = latency.p99 <= 25 or latency.p99 <= 3 * idle.p99
    line(name, f"p99 {latency.p99:5.1f} ms", beside, latency.p99 / idle.p99, 3 if not met else 99, most=True)


class Shared(NamedTuple):
    """What some web processes answer: requests a second, and the cores that they and wrk take."""

    requests: float
    cores: float
    wrk: float

    def __str__(self) -> str:
        return f"{self.requests:.0f}/s ({self.cores:.2f} cores, wrk {self.wrk:.2f})"

    @property
    def of_a_core(self) -> float:
        """Requests a second for each core that the processes take."""
        return self.requests / self.cores


def shared(sidecar: Sidecar, targets: list[str]) -> Shared:
    """What all web processes of a sidecar answer together."""
    peak(sidecar.port, targets, 4 * SECONDS, connections=32)
    sidecar.settled()
    pids = sidecar.web_processes()
    before, wrk, started = sum(map(cpu_seconds, pids)), _of_children(), time.perf_counter()
    rate = peak(sidecar.port, targets[30_000:], 6 * SECONDS, connections=32)
    seconds = time.perf_counter() - started
    return Shared(rate, (sum(map(cpu_seconds, pids)) - before) / seconds, (_of_children() - wrk) / seconds)


def _of_children() -> float:
    """The processor time of children that have ended, such as wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_processes(base: Path, size: Size) -> None:
    """A second web process; where there are two cores, wrk takes its share of them too.

    What a core's worth of processor time answers is what two processes would answer on cores of their own.
    """
    title("a second web process, all endpoints mixed")
    found = []
    for processes in (1, 2):
        with Sidecar(base, {**UNDISTURBED, "SIDECAR_WEB__PROCESSES": processes}) as sidecar:
            sidecar.ready()
            found.append(shared(sidecar, mixed(size, 60_000)))
    one, two = found
    line("two processes", str(two), f"one {one}", two.requests / one.requests, 1.6)
    line(
        "twice, for each core",
        f"{two.of_a_core:.0f}",
        f"{one.of_a_core:.0f}",
        2 * two.of_a_core / one.of_a_core,
        1.6,
    )


# --- all of it --------------------------------------------------------------------------------------------


def main() -> None:
    """Make the world, start the sidecar, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the large world")
    parser.add_argument("--keep", type=Path, help="a directory for the world, kept for the next run")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        base = options.keep
        if base is None:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-bench-")))
        run(base / f"world-{options.scale}", base / "real", options.scale, options.only)


def run(base: Path, real: Path, scale: float, parts: tuple[str, ...]) -> None:
    """All parts over one world."""
    started = time.perf_counter()
    base.mkdir(parents=True, exist_ok=True)
    size = make_world(base, scale)
    print(f"{size.videos} videos, {size.products} products, {size.assets} assets", flush=True)
    with Sidecar(base, UNDISTURBED) as sidecar, bare() as yardstick:
        line(
            "first answer",
            f"{sidecar.first_answer:6.2f} s",
            "after the start",
            sidecar.first_answer,
            1,
            most=True,
        )
        seconds = sidecar.ready()
        files = sidecar.health()["index"]["files"]
        print(f"{files} files in the index after {seconds:.0f} s", flush=True)
        bench = Bench(sidecar, yardstick, size)
        named: dict[str, Callable[[Bench], None]] = {
            "pages": measure_pages,
            "repeated": measure_repeated,
            "deep": measure_deep,
            "search": measure_search,
            "changing": measure_changing,
            "latency": measure_latency,
        }
        for name, measure in named.items():
            if name in parts:
                measure(bench)
    if "latency" in parts:
        measure_checks(real)
    if "processes" in parts:
        measure_processes(base, size)
    print(f"\nall in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

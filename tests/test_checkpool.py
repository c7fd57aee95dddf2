"""The pool of checking processes: verdicts come, whatever happens to the processes."""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from running import alive
from waiting import until

from scanner import checkprocess, checksupervisor, checkworker
from scanner.checkpool import Bell, CheckPool
from scanner.config import VerifyConfig
from scanner.records import Feature
from scanner.verdicts import RAN_OUT, Identity, Status, Task, Verdict

DEADLINE = 30.0
VERIFY = VerifyConfig(workers=2, memory_mb=256)


def collect(pool: CheckPool[str], count: int) -> dict[str, Verdict]:
    """The next ``count`` verdicts, waiting on the pool's descriptor alone."""
    found: dict[str, Verdict] = {}
    end = time.monotonic() + DEADLINE
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        while len(found) < count:
            remaining = end - time.monotonic()
            assert remaining > 0, f"only {found} came"
            if selector.select(remaining):
                found.update(pool.results())
    return found


def deed(name: str, size: int = 1) -> Task:
    """A task for ``pool_worker``; no file is needed."""
    return Task(f"/nowhere/{name}", name, Feature.EMBEDDING, Identity(1, size, 3, 4))


def ask(pool: CheckPool[str], *names: str) -> dict[str, Verdict]:
    """Submit a task of each name and wait for all their verdicts."""
    for name in names:
        pool.submit(deed(name), name)
    return collect(pool, len(names))


def worker_of(verdict: Verdict) -> int:
    assert verdict.status == Status.OK, verdict
    return int(verdict.detail.split()[0])


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "checkpool"] == []
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


@pytest.fixture
def pool() -> Iterator[CheckPool[str]]:
    with CheckPool[str](replace(VERIFY, workers=1), module="pool_worker") as pool:
        yield pool


@pytest.fixture
def hasty() -> Iterator[CheckPool[str]]:
    """A pool that allows a file two seconds."""
    with CheckPool[str](replace(VERIFY, workers=1), module="pool_worker", deadline_seconds=2.0) as pool:
        yield pool


# --- real files ------------------------------------------------------------------------------------


def file_task(root: Path, name: str, feature: Feature, content: bytes) -> Task:
    path = root / name
    path.write_bytes(content)
    return Task(str(path), name, feature, Identity.of(path.stat()), root=str(root))


def test_real_files_are_judged_by_several_processes(tmp_path: Path) -> None:
    with CheckPool[str](VERIFY) as pool:
        assert pool.pids() == []
        for number in range(300):
            feature = list(Feature)[number % 4]
            content = [hostile.picture(), hostile.picture(mode="L"), hostile.embedding().tobytes()]
            good = [*content, hostile.keypoints().tobytes()][number % 4]
            pool.submit(file_task(tmp_path, f"{number}", feature, good), f"{number}")
        found = collect(pool, 300)
        assert {verdict.status for verdict in found.values()} == {Status.OK}
        assert (found["0"].width, found["0"].height) == (64, 48)
        assert found["2"].digest == found["6"].digest is not None
        assert len(pool.pids()) == 2
        assert pool.pending == 0


def test_the_whole_corpus_leaves_every_process_alive(tmp_path: Path) -> None:
    marker = tmp_path / "created-by-a-pickle"
    cases = {f"{case.feature.wire}: {case.name}": case for case in hostile.corpus(marker)}
    with CheckPool[str](replace(VERIFY, workers=1)) as pool:
        for number, (tag, case) in enumerate(cases.items()):
            pool.submit(file_task(tmp_path, f"{number}", case.feature, case.content), tag)
        found = collect(pool, len(cases))
    wrong = {tag: found[tag] for tag, case in cases.items() if found[tag].status not in case.expected}
    assert wrong == {}
    assert not [verdict for verdict in found.values() if "process that" in verdict.detail]
    assert not marker.exists()


def test_a_file_that_needs_more_memory_than_allowed_is_unchecked_and_the_next_is_judged(
    tmp_path: Path,
) -> None:
    header = hostile.npy(np.zeros((1, 1), dtype=np.uint8))[:128].replace(b"(1, 1)", b"(10000, 9000)")
    header = header.replace(b"       \n", b"\n")
    header = header[:8] + (len(header) - 10).to_bytes(2, "little") + header[10:]
    large = file_task(tmp_path, "large", Feature.SEGMENT, header)
    os.truncate(large.path, len(header) + 90_000_000)
    large = replace(large, identity=Identity.of(Path(large.path).stat()))
    small = file_task(tmp_path, "small", Feature.EMBEDDING, hostile.embedding().tobytes())
    with CheckPool[str](replace(VERIFY, workers=1, memory_mb=128)) as pool:
        pool.submit(small, "before")
        pool.submit(large, "large")
        pool.submit(small, "after")
        found = collect(pool, 3)
        assert found["large"] == Verdict(Status.UNCHECKED, RAN_OUT)
        assert found["before"].status == found["after"].status == Status.OK
        peak = Path(f"/proc/{pool.pids()[0]}/status").read_text().split("VmHWM:")[1].split()[0]
        assert int(peak) <= 128 * 1024


def test_a_symlink_may_point_below_the_roots_of_the_pool(tmp_path: Path) -> None:
    for name in ("root", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "target").write_bytes(hostile.picture())
    link = tmp_path / "root" / "link"
    link.symlink_to(tmp_path / "other" / "target")
    task = Task(str(link), "link", Feature.IMAGE, Identity.of(link.stat()), root=str(tmp_path / "root"))
    for roots, status in (([], Status.VANISHED), ([str(tmp_path / "other")], Status.OK)):
        with CheckPool[str](replace(VERIFY, workers=1), roots) as pool:
            pool.submit(task, "link")
            assert collect(pool, 1)["link"].status == status


# --- processes that fail ---------------------------------------------------------------------------


def test_a_process_that_dies_costs_the_verdict_on_its_file_alone(pool: CheckPool[str]) -> None:
    names = [f"ok-{number}" for number in range(20)]
    found = ask(pool, *names[:9], "segfault", *names[9:])
    assert found.pop("segfault") == Verdict(
        Status.UNCHECKED, "the process that checked it was killed by signal 11 (SIGSEGV)"
    )
    assert {verdict.status for verdict in found.values()} == {Status.OK}
    assert set(found) == set(names)


def test_a_process_that_exits_is_named_with_its_code(pool: CheckPool[str]) -> None:
    found = ask(pool, "exit", "ok")
    assert found["exit"].detail == "the process that checked it ended with exit code 3"
    assert found["ok"].status == Status.OK


def test_several_deadly_files_each_have_their_own_verdict(pool: CheckPool[str]) -> None:
    names = [f"{kind}-{number}" for number in range(3) for kind in ("segfault", "ok", "exit")]
    found = ask(pool, *names)
    for name, verdict in found.items():
        assert verdict.status == (Status.OK if name.startswith("ok") else Status.UNCHECKED)


@pytest.mark.parametrize("kind", ["hang", "stop"])
def test_a_process_that_hangs_is_killed_and_replaced(hasty: CheckPool[str], kind: str) -> None:
    before = worker_of(ask(hasty, "ok")["ok"])
    start = time.monotonic()
    found = ask(hasty, "ok-1", kind, "ok-2", "ok-3")
    assert found[kind] == Verdict(Status.UNCHECKED, "took longer than 2 s")
    assert time.monotonic() - start >= 1.0
    assert found["ok-1"].status == Status.OK
    assert worker_of(found["ok-2"]) == worker_of(found["ok-3"]) != before
    assert not alive(before)


def test_processes_that_were_all_stopped_while_idle_cost_one_deadline_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hung: list[str] = []
    replace_process = checksupervisor.Supervisor._replace

    def note(self: Any, process: Any, hanging: str | None, **how: bool) -> None:
        if hanging is not None:
            hung.append(hanging)
        replace_process(self, process, hanging, **how)

    settings = replace(VERIFY, workers=4)
    with CheckPool[str](settings, module="pool_worker", deadline_seconds=3.0) as pool:
        until(lambda: ask(pool, *(f"ok-{number}" for number in range(8))) and len(pool.pids()) == 4, "four")
        stopped = pool.pids()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(checksupervisor.Supervisor, "_replace", note)
        assert worker_of(ask(pool, "ok")["ok"]) not in stopped
        assert hung == ["took longer than 3 s"]  # and not four times, one after the other
        assert not any(map(alive, stopped))


def test_time_that_passes_without_work_is_no_hanging(hasty: CheckPool[str]) -> None:
    first = worker_of(ask(hasty, "ok")["ok"])
    time.sleep(2.2)  # longer than the pool's deadline: the claim is about time that passes
    assert worker_of(ask(hasty, "ok-2")["ok-2"]) == first


def test_a_process_that_hangs_before_it_begins_counts_as_one_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checksupervisor, "_START_SECONDS", 0.1)
    monkeypatch.setenv("POOL_WORKER_HANGS", "1")
    with CheckPool[str](VERIFY, module="pool_worker") as pool:
        found = ask(pool, "ok")
    assert found["ok"].status == Status.UNCHECKED
    assert "did not start within 0.1 s" in found["ok"].detail


def test_a_process_killed_from_outside_while_idle_is_replaced(pool: CheckPool[str]) -> None:
    first = worker_of(ask(pool, "ok")["ok"])
    os.kill(first, signal.SIGKILL)
    until(lambda: pool.pids() == [], "the death to be seen")
    assert worker_of(ask(pool, "ok-2")["ok-2"]) != first


def test_a_process_killed_over_and_over_loses_no_task() -> None:
    with CheckPool[str](VERIFY, module="pool_worker") as pool:
        names = [f"ok-{number}" for number in range(600)]
        for name in names:
            pool.submit(deed(name), name)
        found: dict[str, Verdict] = {}
        killed = 0
        end = time.monotonic() + DEADLINE
        while len(found) < len(names):
            assert time.monotonic() < end
            found.update(pool.results())
            pids = pool.pids()
            if killed < 4 and pids and len(found) > killed * 100:
                os.kill(pids[0], signal.SIGKILL)
                killed += 1
            time.sleep(0.001)
        lost = [name for name, verdict in found.items() if verdict.status != Status.OK]
        assert set(found) == set(names)
        assert len(lost) <= killed
        assert all("killed by signal 9" in found[name].detail for name in lost)


def test_a_mistake_of_the_check_is_a_reason_and_not_a_death(pool: CheckPool[str]) -> None:
    found = ask(pool, "ok", "raise", "ok-2")
    assert found["raise"].status == Status.UNCHECKED
    detail = found["raise"].detail
    assert detail.startswith("the check itself failed: RuntimeError: a mistake (pool_worker.py:")
    assert worker_of(found["ok"]) == worker_of(found["ok-2"])


def test_memory_that_runs_out_is_tried_once_more_in_a_fresh_process(pool: CheckPool[str]) -> None:
    found = ask(pool, "ok", "fill", "ok-2")
    assert found["fill"] == Verdict(Status.UNCHECKED, RAN_OUT)
    assert worker_of(found["ok"]) != worker_of(found["ok-2"])


def test_a_process_that_asks_for_a_fresh_one_is_given_nothing_more(pool: CheckPool[str]) -> None:
    for number in range(6):
        found = ask(pool, f"ok-{number}") | ask(pool, f"fill-{number}")
        assert found[f"fill-{number}"] == Verdict(Status.UNCHECKED, RAN_OUT)


@pytest.mark.parametrize("cause", ["exit code 7", "cannot be started"])
def test_processes_that_cannot_start_end_in_a_reason_and_not_in_waiting(
    cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(checksupervisor, "_BACKOFF_SECONDS", 0.1)
    with monkeypatch.context() as patch, CheckPool[str](VERIFY, module="pool_worker") as pool:
        if cause == "exit code 7":
            patch.setenv("POOL_WORKER_FAILS", "1")
        else:
            patch.setattr(checkprocess, "start_worker", refuse)
        found = ask(pool, "ok-1", "ok-2")
        assert {verdict.status for verdict in found.values()} == {Status.UNCHECKED}
        assert all(cause in verdict.detail for verdict in found.values())
        patch.undo()
        assert ask(pool, "ok-3")["ok-3"].status == Status.OK


def test_a_path_that_cannot_be_sent_is_unchecked(pool: CheckPool[str]) -> None:
    pool.submit(deed("ok-\udcff"), "odd")
    assert collect(pool, 1)["odd"].status == Status.UNCHECKED


# --- what a process is allowed ---------------------------------------------------------------------


def test_a_process_runs_below_normal_priority_and_ignores_ctrl_c(pool: CheckPool[str]) -> None:
    verdict = ask(pool, "ok")["ok"]
    _, nice, handler = verdict.detail.split(" ", 2)
    assert int(nice) == min(19, os.nice(0) + checkworker.NICE)
    assert "SIG_IGN" in handler
    os.kill(worker_of(verdict), signal.SIGINT)
    assert worker_of(ask(pool, "ok-2")["ok-2"]) == worker_of(verdict)


def test_a_process_can_write_no_file(pool: CheckPool[str], tmp_path: Path) -> None:
    pool.submit(replace(deed("write"), path=str(tmp_path / "written")), "write")
    assert collect(pool, 1)["write"].detail == f"refused: {errno.EFBIG}"


def test_processes_start_wherever_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scanner.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    task = file_task(tmp_path, "emb.bin", Feature.EMBEDDING, hostile.embedding().tobytes())
    with CheckPool[str](VERIFY) as pool:
        pool.submit(task, "embedding")
        assert collect(pool, 1)["embedding"].status == Status.OK


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from test_checkpool import *\n"
        "pool = CheckPool(VERIFY, module='pool_worker')\n"
        "pool.submit(deed('ok'), 'ok')\n"
        "pid = worker_of(collect(pool, 1)['ok'])\n"
        "pool.submit(deed('hang'), 'hang')\n"
        "print(pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not alive(worker), "the worker's end")


# --- the owner's side ------------------------------------------------------------------------------


def test_closing_ends_every_process_and_may_be_repeated() -> None:
    pool = CheckPool[str](VERIFY, module="pool_worker")
    ask(pool, "ok-1", "ok-2", "ok-3")
    pool.submit(deed("hang"), "hang")
    pids = pool.pids()
    pool.close()
    pool.close()
    assert not any(map(alive, pids))
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(deed("ok"), "late")


def test_a_pool_that_was_never_used_closes() -> None:
    CheckPool[str](VERIFY).close()


def test_pending_and_room_tell_how_much_is_under_way(pool: CheckPool[str]) -> None:
    room = pool.room
    assert room > 0
    for number in range(room + 5):
        pool.submit(deed(f"ok-{number}"), str(number))
    assert pool.pending == room + 5
    assert pool.room == 0
    collect(pool, room + 5)
    assert (pool.pending, pool.room) == (0, room)


def test_results_are_empty_and_the_descriptor_quiet_when_nothing_has_come(pool: CheckPool[str]) -> None:
    ask(pool, "ok")
    assert pool.results() == []
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        assert selector.select(0) == []


def test_a_mistake_of_the_supervision_reaches_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with CheckPool[str](VERIFY, module="pool_worker") as pool:
        ask(pool, "ok")
        monkeypatch.setattr(pool._supervisor, "_feed", broken)
        pool.submit(deed("ok-2"), "ok-2")
        with selectors.DefaultSelector() as selector:
            selector.register(pool, selectors.EVENT_READ)
            assert selector.select(DEADLINE)
        with pytest.raises(RuntimeError, match="supervision"):
            pool.results()


def test_a_bell_rung_many_times_is_heard_once() -> None:
    bell = Bell()
    with selectors.DefaultSelector() as selector:
        selector.register(bell, selectors.EVENT_READ)
        for _ in range(100_000):
            bell.ring()
        assert selector.select(0)
        bell.quieten()
        assert not selector.select(0)
        bell.ring()
        assert selector.select(0)
    bell.close()


def test_frames_are_found_however_they_were_cut() -> None:
    payloads = [b"", b"a", b"b" * 70_000]
    stream = b"".join(map(checkworker.frame, payloads))
    buffer = bytearray()
    found: list[bytes] = []
    for start in range(0, len(stream), 977):
        buffer += stream[start : start + 977]
        found += checkworker.unframe(buffer)
    assert found == payloads
    assert not buffer


def test_jobs_are_dealt_out_evenly_near_the_end() -> None:
    with CheckPool[str](VERIFY, module="pool_worker") as pool:
        ask(pool, *[f"ok-{number}" for number in range(40)])
        assert len(pool.pids()) == 2
        pool.submit(deed("hang"), "hang")
        pool.submit(deed("ok"), "ok")
        assert collect(pool, 1)["ok"].status == Status.OK  # behind nobody who hangs

"""What tests leave behind is seen, be it a thread, a process or a descriptor; what ends soon is forgiven."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from leaks import left_behind, survey


def test_a_thread_that_goes_on_is_seen_and_one_that_ends_is_forgiven() -> None:
    before, ending = survey(), threading.Event()
    thread = threading.Thread(target=ending.wait, name="goes-on")
    thread.start()
    assert [line for line in left_behind(before, 0) if "goes-on" in line]
    threading.Timer(0.2, ending.set).start()
    assert left_behind(before, 30) == set()


def test_a_process_that_was_not_waited_for_is_seen() -> None:
    before = survey()
    command = [sys.executable, "-c", "input()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert any(line.startswith(f"process {process.pid}:") for line in left_behind(before, 0))
    process.communicate(b"\n")
    assert left_behind(before, 30) == set()


def test_files_and_pipes_that_stay_open_are_seen(tmp_path: Path) -> None:
    before = survey()
    number = os.open(tmp_path / "open", os.O_CREAT | os.O_WRONLY)
    ends = os.pipe()
    assert len(left_behind(before, 0)) == 3
    for opened in (number, *ends):
        os.close(opened)
    assert left_behind(before, 30) == set()

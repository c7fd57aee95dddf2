"""What is still to be listed: each directory once, and whether anything had told of it."""

from __future__ import annotations

from scanner import worklist
from scanner.worklist import Task, Worklist


def drained(tasks: Worklist) -> list[Task]:
    return [tasks.pop() for _ in range(len(tasks))]


def test_the_last_one_comes_first_and_what_may_wait_comes_last() -> None:
    tasks = Worklist()
    tasks.push(Task("a"))
    tasks.push(Task("b"))
    tasks.push(Task("root"), last=True)
    assert [task.directory for task in drained(tasks)] == ["b", "a", "root"]


def test_a_directory_is_there_once_with_all_that_was_asked() -> None:
    tasks = Worklist()
    for number in range(50):
        tasks.push(Task("a", told=False))
        tasks.push(Task("root", recursive=True), last=bool(number))
    tasks.push(Task("a", recursive=True, found=True))
    assert len(tasks) == 2
    assert drained(tasks) == [Task("a", recursive=True, told=True, found=True), Task("root", recursive=True)]


def test_asking_again_for_what_waits_last_leaves_it_last() -> None:
    tasks = Worklist()
    tasks.push(Task("root"))
    tasks.push(Task("a"))
    tasks.push(Task("root"), last=True)
    assert [task.directory for task in drained(tasks)] == ["a", "root"]


def test_a_hint_about_a_subtree_tells_of_all_that_waits_in_it() -> None:
    tasks = Worklist()
    for directory in ("f/a/b", "f/ab", "f"):
        tasks.push(Task(directory, told=False))
    tasks.push(Task("f/a", recursive=True), last=True)
    told = {task.directory: task.told for task in drained(tasks)}
    assert told == {"f/a/b": True, "f/ab": False, "f": False, "f/a": True}
    assert tasks.is_told("f/a/b/c")
    tasks.forget_told()
    tasks.push(Task("f/a/b", told=False))
    assert not tasks.pop().told


def test_what_is_remembered_of_hints_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(worklist, "MAX_TOLD", 2)
    tasks = Worklist()
    tasks.push(Task("other", told=False))
    for number in range(4):
        tasks.push(Task(f"f/{number}", recursive=True))
    assert all(task.told for task in drained(tasks))

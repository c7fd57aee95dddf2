"""One pattern: what it matches, what it captures, and that rendering undoes matching."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scanner.pattern import (
    WILDCARD,
    Part,
    Pattern,
    Template,
    encodable,
    fold_ext,
    is_exact,
    is_proper,
    key_directory,
    key_prefix,
    match_key,
    parse,
)

EXTENSIONS = ("jpg", "jpeg", "png", "tar.gz", "gz")
RANKS = {extension: rank for rank, extension in enumerate(EXTENSIONS)}

odd_text = st.text(st.sampled_from("ab0._-*%{}\\'\"\n ộ😀[^$"), min_size=1, max_size=4)
literal_text = st.text(st.sampled_from("ab0._-*%\\'\"\n ộ😀[^$"), min_size=1, max_size=3)
names = st.sampled_from(["a", "b", "frame", "video_id", "id", "ộ"])


def walk(parts: tuple[Part, ...], path: str, names: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every way to match, the greediest first, by trying: an independent reading of the semantics."""
    if not parts:
        if not path:
            yield names
        return
    (text, is_name), rest = parts[0], parts[1:]
    if not is_name or text in names:
        expected = [names[text] if is_name else text]
    elif text == "ext":
        lengths = [len(extension) for extension in EXTENSIONS]
        expected = [path[:n] for n, e in zip(lengths, EXTENSIONS, strict=True) if path[:n].lower() == e]
    else:
        expected = [path[:n] for n in range(len(path.split("/")[0]), 0, -1)]
    for taken in expected:
        if path.startswith(taken):
            yield from walk(rest, path[len(taken) :], {**names, text: taken} if is_name else names)


def slow_match(text: str, path: str) -> dict[str, str] | None:
    return next(walk(parse(text), path, {}), None)


@st.composite
def component(draw: st.DrawFn, *, last: bool) -> str:
    pieces = draw(
        st.lists(st.one_of(literal_text, names.map(lambda n: "{" + n + "}")), min_size=1, max_size=3)
    )
    return "".join(pieces) + (draw(st.sampled_from(["", ".{ext}", "{ext}", ".{ext}~{ext}"])) if last else "")


@st.composite
def pattern_texts(draw: st.DrawFn) -> str:
    folders = draw(st.lists(component(last=False), max_size=2))
    return "/".join([*folders, draw(component(last=True))])


@st.composite
def single_name_patterns(draw: st.DrawFn) -> str:
    """Patterns with at most one name per component."""
    pieces = draw(
        st.lists(
            st.tuples(st.one_of(st.just(""), literal_text), names, st.one_of(st.just(""), literal_text)),
            min_size=1,
            max_size=3,
        )
    )
    folders = [f"{before}{{{name}}}{after}" for before, name, after in pieces]
    return "/".join(folders) + draw(st.sampled_from(["", ".{ext}"]))


@st.composite
def patterns_and_paths(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and a path that is likely to match it: filled in, then sometimes damaged."""
    text = draw(pattern_texts())
    filled = {part.text: draw(odd_text) for part in parse(text) if part.is_name}
    filled["ext"] = draw(st.sampled_from(["jpg", "JPG", "JpEg", "tar.gz", "TAR.gz", "gz", "gif"]))
    path = "".join(filled[part.text] if part.is_name else part.text for part in parse(text))
    cut = draw(st.integers(0, len(path)))
    return text, path[:cut] + draw(st.sampled_from(["", "", "", "", "/", "a", "\n"])) + path[cut:]


@settings(max_examples=300, deadline=None)
@given(patterns_and_paths())
@example(("{a}_{b}.{ext}", "x_y_z.jpg"))
@example(("{a}{ext}", "x.tar.gz"))
@example(("{a}/{a}.png", "v/w.png"))
@example(("{a}.png", "x.png\n"))
def test_matching_agrees_with_trying_every_way(case: tuple[str, str]) -> None:
    text, path = case
    expected = slow_match(text, path)
    found = Pattern(text, EXTENSIONS).match(path)
    assert found == (None if expected is None else {n: t for n, t in expected.items() if n != "ext"})


@settings(max_examples=200, deadline=None)
@given(patterns_and_paths())
def test_rendering_what_was_matched_gives_the_path_but_for_its_extension(case: tuple[str, str]) -> None:
    text, path = case
    pattern = Pattern(text, EXTENSIONS)
    found = pattern.groups(path)
    assume(found is not None)
    assert found is not None
    key = pattern.render(found)
    assert key.replace(WILDCARD, found.get("ext", "")) == path
    assert is_exact(key) is not pattern.has_ext
    if pattern.has_ext:
        assert match_key(key, path, RANKS) == RANKS[found["ext"].lower()]


@settings(max_examples=200, deadline=None)
@given(single_name_patterns(), st.data())
def test_matching_what_was_rendered_gives_the_names_back(text: str, data: st.DataObject) -> None:
    pattern = Pattern(text, EXTENSIONS)
    given_names = {name: data.draw(odd_text) for name in sorted(pattern.names)}
    path = pattern.render(given_names).replace(WILDCARD, data.draw(st.sampled_from(["jpg", "PNG", "jPeg"])))
    assert pattern.match(path) == given_names


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("frames/{video_id}/{frame}.{ext}", "frames/v/1.JPeG", {"video_id": "v", "frame": "1"}),
        ("frames/{video_id}/{frame}.{ext}", "frames/v/1.2.jpg", {"video_id": "v", "frame": "1.2"}),
        ("frames/{video_id}/{frame}.{ext}", "frames/v/.jpg", None),
        ("frames/{video_id}/{frame}.{ext}", "frames/v/w/1.jpg", None),
        ("frames/{video_id}/{frame}.{ext}", "frames/v/1.gif", None),
        ("frames/{video_id}/{frame}.{ext}", "frames/v/1.jpg\n", None),
        ("{a}.{b}", "x.y.z", {"a": "x.y", "b": "z"}),
        ("{v}/{v}_{n}.png", "p/p_1.png", {"v": "p", "n": "1"}),
        ("{v}/{v}_{n}.png", "p/q_1.png", None),
        ("{a}{a}", "xyxy", {"a": "xy"}),
        ("x/{n}.png", "x/line\nbreak '\"{n}.png", {"n": "line\nbreak '\"{n}"}),
        ("x/{n}.png", "x/a.PNG", None),
        ("x.y", "x.y", {}),
        ("x.y", "xzy", None),
    ],
)
def test_what_patterns_match(text: str, path: str, found: dict[str, str] | None) -> None:
    assert Pattern(text, EXTENSIONS).match(path) == found


def test_a_pattern_knows_its_literals_names_and_fixed_ends() -> None:
    pattern = Pattern("masks/{video_id}/{frame}_m.{ext}", EXTENSIONS)
    assert pattern.literals == len("masks/" + "/" + "_m.")
    assert pattern.names == {"video_id", "frame"}
    assert pattern.has_ext
    assert pattern.depth == 2
    assert (pattern.prefix, pattern.suffix) == ("masks/", "")
    assert (Pattern("{a}.png", ()).prefix, Pattern("{a}.png", ()).suffix) == ("", ".png")
    assert "masks/{video_id}" in repr(pattern)


def test_letter_case_is_folded_for_ascii_letters_only() -> None:
    pattern = Pattern("{n}.{ext}", ("webp", "tiſk"))
    assert pattern.match("x.WeBP") == {"n": "x"}
    assert pattern.match("x.TIſK") == {"n": "x"}
    assert pattern.match("x.ti\u017f\N{KELVIN SIGN}") is None
    assert fold_ext("TIſK") == "tiſk"
    assert fold_ext("\N{KELVIN SIGN}") == "\N{KELVIN SIGN}"


def test_without_extensions_nothing_is_one() -> None:
    assert Pattern("{n}.{ext}", ()).match("x.jpg") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a/{b", "without its partner"),
        ("a/b}", "without its partner"),
        ("a/{{b}}", "without its partner"),
        ("a/{}", "not a name"),
        ("a/{b c}", "not a name"),
        ("a/{0}", "not a name"),
        ("a\0/{b}", "NUL"),
        ("a.{ext}/{b}", "directory"),
    ],
)
def test_a_text_that_is_no_pattern_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Pattern(text, EXTENSIONS)


def test_rendering_needs_every_name() -> None:
    with pytest.raises(KeyError):
        Pattern("{a}/{b}", ()).render({"a": "x"})


def test_a_template_keeps_percent_signs_and_repeats_names() -> None:
    template = Template.of("100%_{a}_%s_{b}_{a}")
    assert template.slots == ("a", "b", "a")
    assert template.fill({"a": "%d", "b": "{a}"}) == "100%_%d_%s_{a}_%d"


@pytest.mark.parametrize(
    ("key", "path", "rank"),
    [
        ("m/a.png", "m/a.png", 0),
        ("m/a.png", "m/a.PNG", None),
        ("m/a.\0", "m/a.PNG", 2),
        ("m/a.\0", "m/a.tar.GZ", 3),
        ("m/a.\0", "m/a.", None),
        ("m/a.\0", "m/a", None),
        ("m/a.\0", "m/a.gif", None),
        ("m/a.\0", "m/b.png", None),
        ("m/*.\0", "m/a.png", None),
        ("m/*.\0", "m/*.png", 2),
        ("m/\0.x.\0", "m/png.x.png", 2),
        ("m/\0.x.\0", "m/png.x.jpg", None),
        ("m/\0.x.\0", "m/png.x.PNG", None),
        ("m/a.\0", "m/a.\N{KELVIN SIGN}", None),
    ],
)
def test_a_path_is_an_instance_of_a_key_by_one_of_the_extensions(
    key: str, path: str, rank: int | None
) -> None:
    assert match_key(key, path, RANKS) == rank


@settings(max_examples=150, deadline=None)
@given(patterns_and_paths())
def test_directory_and_prefix_of_a_key_find_every_instance(case: tuple[str, str]) -> None:
    text, path = case
    pattern = Pattern(text, EXTENSIONS)
    found = pattern.groups(path)
    assume(found is not None)
    assert found is not None
    key = pattern.render(found)
    directory, _, name = path.rpartition("/")
    assert key_directory(key) == directory
    assert name.startswith(key_prefix(key))
    if is_exact(key):
        assert key_prefix(key) == name


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("./a"), max_size=7))
def test_a_proper_key_has_no_part_that_a_listing_cannot_show(key: str) -> None:
    assert is_proper(key) is all(part not in {"", ".", ".."} for part in key.split("/"))


def test_lone_surrogates_cannot_be_encoded() -> None:
    assert encodable("gối 😀\n")
    assert not encodable("\udcff")


@pytest.mark.parametrize(
    ("text", "unambiguous"),
    [
        ("masks/{video_id}/{frame}.png", True),
        ("masks/{id}.png", True),
        ("masks/{video_id}_{frame}.png", False),
        ("masks/{frame}.{ext}", True),
        ("masks/{frame}_{ext}", False),
        ("{a}/{b}/x{c}y", True),
    ],
)
def test_a_path_can_be_read_in_one_way_where_no_part_holds_two_names(text: str, unambiguous: bool) -> None:
    assert Pattern(text, ("jpg", "png")).is_unambiguous(("jpg", "png")) is unambiguous


def test_an_extension_with_a_dot_in_it_can_be_read_in_two_ways() -> None:
    assert not Pattern("masks/{frame}.{ext}", ("gz", "nii.gz")).is_unambiguous(("gz", "nii.gz"))

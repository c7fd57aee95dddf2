"""The layout: which asset and feature a path is, and under which keys artifacts are looked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scanner.config import LayoutConfig
from scanner.layout import ImageNames, Layout
from scanner.matching import Placement
from scanner.pattern import WILDCARD
from scanner.records import ARTIFACTS, AssetType, Feature

FRAME, PRODUCT = AssetType.VIDEO_FRAME, AssetType.PRODUCT_IMAGE
IMAGE, SEGMENT, EMBEDDING, KEYPOINTS = Feature
EXTENSIONS = ("jpg", "jpeg", "png", "webp")
Lists = Mapping[str, Any]

SAME: Lists = MappingProxyType({})
NONE: Lists = {"image": (), "segment": (), "embedding": (), "keypoints": ()}


def config(
    frames: Lists = SAME, products: Lists = SAME, extensions: tuple[str, ...] = EXTENSIONS
) -> LayoutConfig:
    """The default layout with some of its values replaced."""
    default = LayoutConfig()
    return LayoutConfig(extensions, replace(default.frames, **frames), replace(default.products, **products))


def layout(frames: Lists = SAME, products: Lists = SAME, extensions: tuple[str, ...] = EXTENSIONS) -> Layout:
    return Layout(config(frames, products, extensions))


def kinds(placements: tuple[Placement, ...]) -> list[tuple[AssetType, Feature, str | None]]:
    return [(p.type, p.feature, p.asset_id) for p in placements]


# --- the default layout -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("frames/v_abc/000123.jpg", (FRAME, IMAGE, 0, 0, "v_abc_frame_000123", "v_abc")),
        ("frames/v_abc/000123.WebP", (FRAME, IMAGE, 0, 3, "v_abc_frame_000123", "v_abc")),
        ("frames/v_abc/000123/seg.png", (FRAME, SEGMENT, 0, 0, "v_abc_frame_000123", "v_abc")),
        ("frames/v_abc/000123/emb.bin", (FRAME, EMBEDDING, 0, 0, "v_abc_frame_000123", "v_abc")),
        ("frames/v_abc/000123/kp.bin", (FRAME, KEYPOINTS, 0, 0, "v_abc_frame_000123", "v_abc")),
        ("products/p_001/0.jpeg", (PRODUCT, IMAGE, 0, 1, "p_001_img_0", "p_001")),
        ("products/p_001/0/kp.bin", (PRODUCT, KEYPOINTS, 0, 0, "p_001_img_0", "p_001")),
        ("frames/a.b/%d\n'\".c.png", (FRAME, IMAGE, 0, 2, "a.b_frame_%d\n'\".c", "a.b")),
    ],
)
def test_the_default_layout_tells_asset_feature_and_owner(path: str, expected: tuple[Any, ...]) -> None:
    (placement,) = layout().classify(path)
    assert placement[:6] == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x.jpg",
        "frames/1.jpg",
        "frames/v/1.gif",
        "frames/v/1/seg.jpg",
        "frames/v/1/2/seg.png",
        "Frames/v/1.jpg",
    ],
)
def test_what_no_pattern_matches_is_nothing(path: str) -> None:
    assert layout().classify(path) == ()


def test_the_key_hides_the_extension_only() -> None:
    (placement,) = layout().classify("frames/v/png.*.PNG")
    assert placement.key == "frames/v/png.*." + WILDCARD
    (placement,) = layout().classify("frames/v/1/seg.png")
    assert placement.key == "frames/v/1/seg.png"


# --- which pattern takes a path ---------------------------------------------------------------------


def test_a_mask_can_lie_beside_its_image() -> None:
    beside = layout({"segment": ("frames/{video_id}/{frame}_mask.png",)})
    assert kinds(beside.classify("frames/v/7.jpg")) == [(FRAME, IMAGE, "v_frame_7")]
    assert kinds(beside.classify("frames/v/7_mask.png")) == [(FRAME, SEGMENT, "v_frame_7")]


def test_at_equal_literals_the_image_takes_the_path() -> None:
    same = layout({"segment": ("frames/{video_id}/{frame}.{ext}",)})
    assert kinds(same.classify("frames/v/7.png")) == [(FRAME, IMAGE, "v_frame_7")]


def test_without_images_an_image_may_be_an_artifact() -> None:
    same = layout({"segment": ("frames/{video_id}/{frame}.{ext}",)})
    assert kinds(same.classify("frames/v/7.png", images=False)) == [(FRAME, SEGMENT, "v_frame_7")]
    assert layout().classify("frames/v/7.png", images=False) == ()


def test_an_artifact_of_both_kinds_says_both_the_more_literal_first() -> None:
    both = layout(
        {"segment": ("masks/{id}.png",)}, {"keypoints": ("masks/{id}_.png",), "segment": ("masks/{id}.png",)}
    )
    assert kinds(both.classify("masks/a.png")) == [(FRAME, SEGMENT, "a"), (PRODUCT, SEGMENT, "a")]
    assert kinds(both.classify("masks/a_.png")) == [(PRODUCT, KEYPOINTS, "a"), (FRAME, SEGMENT, "a_")]
    assert both.classify("masks/a.png", images=False) == both.classify("masks/a.png")


def test_of_equals_segment_goes_before_embedding_and_earlier_before_later() -> None:
    flat = layout({"embedding": ("m/{id}.png",), "segment": ("m/{video_id}.png", "m/{id}.png")})
    (placement,) = flat.classify("m/a.png")
    assert (placement.feature, placement.rank, placement.asset_id, placement.owner_id) == (
        SEGMENT,
        0,
        None,
        "a",
    )


def test_the_rank_is_the_place_in_the_list_not_the_order_of_matching() -> None:
    several = layout({"image": ("frames/{video_id}/{frame}.{ext}", "frames/{video_id}/f_{frame}.{ext}")})
    (placement,) = several.classify("frames/v/f_7.jpg")
    assert (placement.rank, placement.asset_id) == (1, "v_frame_7")


# --- flat trees -------------------------------------------------------------------------------------


def test_flat_trees_of_their_own() -> None:
    flat = layout(
        {"segment": ("masks/frames/{video_id}/{frame}.png",), "keypoints": ("keypoints/{id}.npz",)},
        {"segment": ("masks_product/{id}.png",), "keypoints": ("keypoints/{id}.npz",)},
    )
    assert kinds(flat.classify("masks/frames/v/7.png")) == [(FRAME, SEGMENT, "v_frame_7")]
    assert kinds(flat.classify("masks_product/p_img_0.png")) == [(PRODUCT, SEGMENT, "p_img_0")]
    assert kinds(flat.classify("keypoints/a{id}.npz")) == [
        (FRAME, KEYPOINTS, "a{id}"),
        (PRODUCT, KEYPOINTS, "a{id}"),
    ]
    assert flat.roots == ("frames", "keypoints", "masks", "masks_product", "products")


def test_names_that_do_not_give_the_id_leave_it_open() -> None:
    bare = layout({"image": ("frames/{frame}.{ext}",), "segment": ("masks/{frame}.png",)})
    (image,) = bare.classify("frames/7.jpg")
    (mask,) = bare.classify("masks/7.png")
    assert (image.asset_id, image.owner_id, mask.asset_id, mask.owner_id) == (None, None, None, None)


def test_an_image_may_be_named_by_its_id_and_an_id_may_hold_the_extension() -> None:
    named = layout({"image": ("frames/{id}.{ext}",), "id": "{id}.{ext}"})
    (placement,) = named.classify("frames/a.b.JPG")
    assert placement.asset_id == "a.b.JPG"
    found = named.image_names(FRAME, "frames/a.b.JPG")
    assert found == ImageNames({"id": "a.b"}, "a.b.JPG", None, None)


def test_a_constant_path_is_a_pattern_too() -> None:
    constant = layout({"segment": ("masks/all.png",), "id": "100%"})
    assert kinds(constant.classify("masks/all.png")) == [(FRAME, SEGMENT, "100%")]


# --- roots ------------------------------------------------------------------------------------------


def test_roots_are_the_first_folders() -> None:
    assert layout().roots == ("frames", "products")
    assert layout({**NONE}, {**NONE}).roots == ()


@pytest.mark.parametrize("pattern", ["{video_id}/{frame}.{ext}", "{frame}.{ext}", "f{video_id}/{frame}.png"])
def test_a_pattern_without_a_first_folder_makes_the_data_root_the_one_root(pattern: str) -> None:
    assert layout({"image": (pattern,)}).roots == ("",)


# --- the names of an image --------------------------------------------------------------------------


def test_image_names_hold_even_where_an_artifact_takes_the_path() -> None:
    beside = layout({"segment": ("frames/{video_id}/{frame}_mask.png",)})
    found = beside.image_names(FRAME, "frames/v/7_mask.png")
    assert found is not None
    assert (found.names, found.asset_id) == ({"video_id": "v", "frame": "7_mask"}, "v_frame_7_mask")
    assert beside.image_names(PRODUCT, "frames/v/7_mask.png") is None


def test_image_names_come_from_the_most_literal_pattern() -> None:
    several = layout({"image": ("frames/{video_id}/{frame}.{ext}", "frames/{video_id}/f_{frame}.{ext}")})
    found = several.image_names(FRAME, "frames/v/f_7.PNG")
    assert found == ImageNames({"video_id": "v", "frame": "7"}, "v_frame_7", "v", None)


@pytest.mark.parametrize(
    ("frame", "fps", "seconds"),
    [
        ("000123", 25.0, 4.92),
        ("cam2_000030", 30.0, 1.0),
        ("12_b", 4.0, 3.0),
        ("٣", 25.0, None),
        ("x", 25.0, None),
        ("5", 0.0, None),
        ("9" * 200, 1e-200, None),
        ("9" * 5000, 1.0, None),
    ],
)
def test_a_frame_stands_at_its_number_by_fps(frame: str, fps: float, seconds: float | None) -> None:
    timed = layout({"fps": fps})
    path = f"frames/v/{frame}.jpg"
    found, expected = timed.image_names(FRAME, path), timed.told_image(path)
    assert found is not None
    assert expected is not None
    assert found.timestamp == expected.timestamp == seconds


def test_what_is_no_frame_has_no_timestamp() -> None:
    timed = layout({"fps": 25.0}, {"image": ("products/{product_id}/{frame}.{ext}",), "id": "{frame}"})
    assert timed.image_names(FRAME, "elsewhere/7.jpg") is None
    unnumbered = layout({"fps": 25.0, "image": ("frames/{video_id}/7.{ext}",), "id": "{video_id}"})
    frame = unnumbered.image_names(FRAME, "frames/7/7.jpg")
    assert frame is not None
    assert frame.timestamp is None
    found = timed.image_names(PRODUCT, "products/p/7.jpg")
    assert found is not None
    assert found.timestamp is None


# --- where artifacts are looked for -----------------------------------------------------------------


def test_artifacts_are_looked_for_by_the_images_names_or_the_id_in_order_of_preference() -> None:
    flat = layout({"segment": ("m/{id}.{ext}", "m/{video_id}/{frame}.png", "m/{other}.png", "m/{id}.{ext}")})
    names = {"video_id": "v", "frame": "7"}
    assert flat.artifact_keys(FRAME, SEGMENT, "X", names) == ("m/X.\0", "m/v/7.png")
    assert flat.artifact_keys(FRAME, SEGMENT, "X", None) == ("m/X.\0",)
    assert flat.artifact_keys(PRODUCT, SEGMENT, "X", names) == ()


def test_the_assets_id_goes_before_a_name_that_is_called_id() -> None:
    flat = layout({"segment": ("m/{id}.png",)})
    assert flat.artifact_keys(FRAME, SEGMENT, "X", {"id": "y"}) == ("m/X.png",)


@pytest.mark.parametrize("asset_id", ["", "a/b", "../../etc", "a\0", "\udcff", "."])
def test_an_id_that_no_name_can_hold_leads_nowhere(asset_id: str) -> None:
    flat = layout({"segment": ("m/{id}/x.png",), "keypoints": ("frames/{video_id}.npz",)})
    assert flat.artifact_keys(FRAME, SEGMENT, asset_id, {"id": "y"}) == ()
    assert flat.artifact_keys(FRAME, KEYPOINTS, asset_id, {"video_id": "v"}) == ("frames/v.npz",)


def test_names_that_would_make_a_dot_folder_lead_nowhere() -> None:
    found = layout().image_names(FRAME, "frames/v/..jpg")
    assert found is not None
    assert found.names["frame"] == "."
    assert layout().artifact_keys(FRAME, SEGMENT, "v_frame_.", found.names) == ()


def test_a_key_is_matched_by_every_letter_case_of_an_extension() -> None:
    assert layout().match_key("m/a.\0", "m/a.WEBP") == 3
    assert layout().match_key("m/a.\0", "m/a.gif") is None
    assert layout().match_key("m/a.png", "m/a.png") == 0


# --- laws -------------------------------------------------------------------------------------------


def slow_names(text: str, extensions: tuple[str, ...], path: str) -> dict[str, str] | None:
    """The greediest reading of a path by a pattern, found by trying; ``ext`` included."""
    return next(_walk(text, extensions, path, {}), None)


def _walk(
    text: str, extensions: tuple[str, ...], path: str, names: dict[str, str]
) -> Iterator[dict[str, str]]:
    if not text:
        if not path:
            yield names
    elif text[0] != "{":
        if path[:1] == text[0]:
            yield from _walk(text[1:], extensions, path[1:], names)
    else:
        name, _, rest = text[1:].partition("}")
        for taken in _choices(name, extensions, path, names):
            if path.startswith(taken):
                yield from _walk(rest, extensions, path[len(taken) :], {**names, name: taken})


def _choices(name: str, extensions: tuple[str, ...], path: str, names: dict[str, str]) -> list[str]:
    if name in names:
        return [names[name]]
    if name == "ext":
        return [path[: len(e)] for e in extensions if path[: len(e)].lower() == e]
    return [path[:n] for n in range(len(path.split("/")[0]), 0, -1)]


def slow_classify(settings: LayoutConfig, path: str, images: bool) -> list[tuple[Any, ...]]:
    """Every placement that ``classify`` should give, by sorting all that match."""
    matches = []
    for kind, section, owner in (
        (FRAME, settings.frames, "video_id"),
        (PRODUCT, settings.products, "product_id"),
    ):
        for feature in Feature:
            if feature is IMAGE and not images:
                continue
            for rank, text in enumerate(getattr(section, feature.name.lower())):
                names = slow_names(text, settings.extensions, path)
                if names is None:
                    continue
                ext = names.pop("ext", None)
                literals = len("".join(piece.partition("}")[2] for piece in ("}" + text).split("{")))
                order = (-literals, feature is not IMAGE, kind is PRODUCT, int(feature), rank)
                asset_id = names.get("id") if feature is not IMAGE else None
                if asset_id is None:
                    asset_id = slow_fill(section.id, names)
                ext_rank = settings.extensions.index(ext.lower()) if ext else 0
                matches.append((order, (kind, feature, rank, ext_rank, asset_id, names.get(owner))))
    matches.sort()
    found = [placement for _, placement in matches]
    if not found or found[0][1] is IMAGE:
        return found[:1]
    return found[:1] + [p for p in found if p[1] is not IMAGE and p[0] is not found[0][0]][:1]


def slow_fill(template: str, names: Mapping[str, str]) -> str | None:
    pieces = template.split("{")
    filled = pieces[0]
    for piece in pieces[1:]:
        name, _, literal = piece.partition("}")
        if name not in names:
            return None
        filled += names[name] + literal
    return filled


POOL = [
    "{video_id}/{frame}.{ext}",
    "{product_id}/{image}.{ext}",
    "t/{video_id}/{frame}.{ext}",
    "t/{product_id}/{image}.{ext}",
    "t/{video_id}/{frame}_m.png",
    "t/{id}.png",
    "t/{id}.{ext}",
    "t/{video_id}_{frame}.png",
    "t/{product_id}_{image}.png",
    "t/{id}/{id}.png",
    "t/{video_id}/{video_id}_{frame}.{ext}",
    "t/{id}_m.{ext}",
    "m/{frame}.png",
    "{id}.png",
    "t/a.png",
]
patterns = st.lists(st.sampled_from(POOL), max_size=3).map(tuple)
sections = st.fixed_dictionaries(
    {"image": patterns, "segment": patterns, "embedding": patterns, "keypoints": patterns}
)
words = st.lists(
    st.sampled_from(["a", "_", ".", "_m", "png", ".png", ".JPG", "\n", "é", "%s", "{"]),
    min_size=1,
    max_size=4,
)
paths = st.builds(
    lambda folders, name, end: "/".join([*folders, name + end]),
    st.lists(st.one_of(st.sampled_from(["t", "m", "a"]), words.map("".join)), max_size=2),
    words.map("".join),
    st.sampled_from([".png", ".PNG", ".jpg", "_m.png", ""]),
)


@settings(max_examples=400, deadline=None)
@given(sections, sections, st.lists(paths, min_size=1, max_size=8), st.booleans())
@example({**NONE, "segment": ("t/{id}.png",)}, {**NONE, "image": ("t/{image}.{ext}",)}, ["t/a.png"], True)
def test_classify_agrees_with_sorting_all_that_match(
    frames: Lists, products: Lists, tried: list[str], images: bool
) -> None:
    made = config(frames, products)
    quick = Layout(made)
    for path in tried:
        assert [p[:6] for p in quick.classify(path, images)] == slow_classify(made, path, images)


@settings(max_examples=200, deadline=None)
@given(sections, paths)
def test_the_key_of_a_placement_is_a_key_of_its_path(frames: Lists, path: str) -> None:
    made = layout(frames, {**NONE})
    for placement in made.classify(path):
        assert made.match_key(placement.key, path) == placement.ext_rank


@settings(max_examples=200, deadline=None)
@given(words.map("".join), st.sampled_from([p for p in POOL if "{id}" in p]), st.sampled_from(["png", "JPG"]))
def test_an_artifact_lies_where_its_asset_looks_for_it(asset_id: str, pattern: str, extension: str) -> None:
    """A file that a pattern with nothing but {id} finds is found again from the id it gave."""
    assume(asset_id not in {".", ".."})
    made = layout({**NONE, "segment": (pattern,)}, NONE)
    (placement,) = made.classify(pattern.replace("{id}", asset_id).replace("{ext}", extension))
    assert placement.asset_id == asset_id
    assert made.artifact_keys(FRAME, SEGMENT, asset_id, None) == (placement.key,)


@settings(max_examples=200, deadline=None)
@given(words, words, st.sampled_from(ARTIFACTS))
def test_an_image_finds_the_artifacts_that_belong_to_it(
    video: list[str], frame: list[str], feature: Feature
) -> None:
    names = {"video_id": "".join(video), "frame": "".join(frame)}
    assume(not {".", ".."} & set(names.values()))
    image = layout().image_names(FRAME, f"frames/{names['video_id']}/{names['frame']}.jpg")
    assert image is not None
    assert image.names == names
    (key,) = layout().artifact_keys(FRAME, feature, image.asset_id or "", image.names)
    assert kinds(layout().classify(key)) == [(FRAME, feature, image.asset_id)]

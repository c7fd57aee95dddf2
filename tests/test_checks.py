"""Each rule of the content checks, on real files."""

from __future__ import annotations

import errno
import io
import os
import socket
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import hostile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scanner import checks, contentfile, pictures
from scanner.checks import NO_ROWS, ONE_VALUE, check
from scanner.config import VerifyConfig
from scanner.records import Feature
from scanner.settings import EmbeddingCheckConfig, KeypointsCheckConfig, SegmentCheckConfig
from scanner.verdicts import RAN_OUT, Identity, Status, Task, Verdict

VERIFY = VerifyConfig()
SMALL = replace(VERIFY, embedding=EmbeddingCheckConfig(dim=4))


class Bench:
    """Writes a file below a root of its own and has it judged."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.image: Path | None = None

    def task(self, path: Path, feature: Feature) -> Task:
        image = self.image and str(self.image)
        identity = Identity.of(self.image.stat()) if self.image else None
        size = Identity.of(path.stat())
        return Task(str(path), path.name, feature, size, image, identity, str(self.root))

    def with_image(self, content: bytes) -> Bench:
        self.image = self.root / "image"
        self.image.write_bytes(content)
        return self

    def judge(self, feature: Feature, content: bytes, verify: VerifyConfig = VERIFY) -> Verdict:
        path = self.root / "file"
        path.write_bytes(content)
        return check(self.task(path, feature), verify)

    def segment(self, content: bytes, verify: VerifyConfig = VERIFY) -> Verdict:
        return self.judge(Feature.SEGMENT, content, verify)

    def embedding(self, content: bytes, verify: VerifyConfig = VERIFY) -> Verdict:
        return self.judge(Feature.EMBEDDING, content, verify)

    def keypoints(self, content: bytes, verify: VerifyConfig = VERIFY) -> Verdict:
        return self.judge(Feature.KEYPOINTS, content, verify)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def broken_image() -> bytes:
    """Its header says 64x48, its data end halfway."""
    content = hostile.picture()
    return content[: len(content) // 2]


# --- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000"])
def test_a_picture_of_every_format_is_decoded_and_its_size_told(bench: Bench, form: str) -> None:
    assert bench.judge(Feature.IMAGE, hostile.picture(form=form)) == Verdict(Status.OK, width=64, height=48)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000"])
def test_a_picture_without_its_second_half_is_corrupt(bench: Bench, form: str) -> None:
    content = hostile.picture(form=form)
    verdict = bench.judge(Feature.IMAGE, content[: len(content) // 2])
    assert verdict.status == Status.CORRUPT
    assert verdict.detail.startswith(f"cannot be decoded as {form}: ")
    assert verdict.expectation is None


def test_a_progressive_jpeg_and_a_16_bit_mask_are_decoded(bench: Bench) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "JPEG", progressive=True)
    assert bench.judge(Feature.IMAGE, buffer.getvalue()).status == Status.OK
    buffer = io.BytesIO()
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(buffer, "PNG")
    assert bench.segment(buffer.getvalue()) == Verdict(Status.OK)


def test_pillows_own_bound_is_not_changed_by_a_check(bench: Bench) -> None:
    before = Image.MAX_IMAGE_PIXELS
    bench.judge(Feature.IMAGE, hostile.picture())
    assert before == Image.MAX_IMAGE_PIXELS


def test_more_than_178_million_pixels_are_corrupt_and_exactly_so_many_are_not(bench: Bench) -> None:
    over = hostile.png(178_000_001, 1, b"")
    assert "pixels, more than 178 million" in bench.judge(Feature.IMAGE, over).detail
    row = zlib.compress(bytes(22_250_001))
    most = hostile.png(178_000_000, 1, row, depth=1)
    assert bench.judge(Feature.IMAGE, most).status == Status.OK


def test_a_large_picture_that_does_not_fit_the_memory_is_unchecked(bench: Bench) -> None:
    verdict = bench.judge(Feature.IMAGE, hostile.png(10_000, 17_000, b"", colour=2))
    assert verdict == Verdict(Status.UNCHECKED, "needs more than the 512 MB that a check may use")


def test_damage_that_may_be_a_lack_of_memory_under_another_name_is_no_verdict(bench: Bench) -> None:
    content = hostile.png(4000, 3000, zlib.compress(b"x" * 100)[:-6] + b"garbage" * 20)
    assert bench.judge(Feature.IMAGE, content).status == Status.CORRUPT
    tight = bench.judge(Feature.IMAGE, content, replace(VERIFY, memory_mb=64))
    assert tight.status == Status.UNCHECKED
    assert "or is damaged" in tight.detail


def test_memory_that_runs_out_while_decoding_is_no_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(pictures, "_uniform", exhausted)
    assert bench.segment(hostile.picture()) == Verdict(Status.UNCHECKED, RAN_OUT)


def test_a_checksum_is_compared_up_to_the_end_of_the_picture_only(bench: Bench) -> None:
    stored = struct.pack(">I", 9)
    rows = zlib.compress(bytes(8 * 9))
    good = hostile.png(8, 8, rows)
    assert bench.judge(Feature.IMAGE, good + stored + b"IDATxxxx").status == Status.OK
    at = good.index(b"IDAT") + 4 + len(rows)
    verdict = bench.judge(Feature.IMAGE, hostile.altered(good, at))
    assert (verdict.status, verdict.detail) == (Status.CORRUPT, "has a wrong checksum in its 'IDAT' chunk")


def animation(form: str) -> bytes:
    """Four frames, none of them like another."""
    shades = np.arange(64 * 48).reshape(48, 64)
    frames = [Image.fromarray(((shades + 40 * at) % 256).astype(np.uint8)) for at in range(4)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "end"), [("GIF", 2), ("PNG", 12), ("WEBP", 0)])
def test_an_animation_is_corrupt_wherever_it_is_cut_off(bench: Bench, form: str, end: int) -> None:
    """Until all of its last frame is there; what a GIF and a PNG end with says nothing more."""
    whole = animation(form)
    assert bench.judge(Feature.IMAGE, whole).status == Status.OK
    assert bench.judge(Feature.IMAGE, whole[: len(whole) - end]).status == (
        Status.CORRUPT if form == "GIF" else Status.OK
    )
    for length in range(len(whole) * 2 // 5, len(whole) - end - 4, 3):
        assert bench.judge(Feature.IMAGE, whole[:length]).status == Status.CORRUPT, length


def test_a_changed_byte_in_a_later_frame_of_a_png_is_noticed(bench: Bench) -> None:
    whole = animation("PNG")
    verdict = bench.judge(Feature.IMAGE, hostile.altered(whole, whole.rindex(b"fdAT") + 10))
    assert verdict == Verdict(Status.CORRUPT, "has a wrong checksum in its 'fdAT' chunk")


def test_a_gif_of_one_frame_needs_no_end(bench: Bench) -> None:
    content = hostile.picture(form="GIF")
    for length in (1, 2):
        assert bench.judge(Feature.IMAGE, content[:-length]).status == Status.OK


# --- masks -----------------------------------------------------------------------------------------


def test_a_mask_of_the_images_size_is_good(bench: Bench) -> None:
    bench.with_image(hostile.picture(form="JPEG"))
    assert bench.segment(hostile.picture(mode="L")) == Verdict(Status.OK)


def test_a_mask_of_another_size_is_corrupt_and_names_the_key(bench: Bench) -> None:
    bench.with_image(hostile.picture(100, 80))
    verdict = bench.segment(hostile.picture())
    assert verdict.status == Status.CORRUPT
    assert verdict.detail == "mask is 64x48, image is 100x80"
    assert (verdict.expectation, verdict.observed) == ("verify.segment.size", "64x48")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "turned"), [(1, False), (3, False), (5, True), (6, True), (8, True)])
def test_a_mask_may_be_turned_where_the_images_orientation_turns_it(
    bench: Bench, form: str, orientation: int, turned: bool
) -> None:
    bench.with_image(hostile.picture(form=form, orientation=orientation))
    assert bench.segment(hostile.picture(64, 48)).status == Status.OK
    upright = bench.segment(hostile.picture(48, 64))
    assert upright.status == (Status.OK if turned else Status.CORRUPT)


def test_an_orientation_behind_the_pixels_of_a_png_counts(bench: Bench) -> None:
    content = hostile.picture(orientation=6)
    at = content.index(b"eXIf") - 4
    length = struct.unpack_from(">I", content, at)[0] + 12
    end = content.index(b"IEND") - 4
    moved = content[:at] + content[at + length : end] + content[at : at + length] + content[end:]
    bench.with_image(moved)
    assert bench.segment(hostile.picture(48, 64)).status == Status.OK


def test_a_mask_of_any_size_is_good_where_sizes_are_not_compared(bench: Bench) -> None:
    bench.with_image(hostile.picture(100, 80))
    verify = replace(VERIFY, segment=SegmentCheckConfig(size="any"))
    assert bench.segment(hostile.picture(), verify).status == Status.OK


@pytest.mark.parametrize("image", [broken_image(), b"404 not found", hostile.picture(form="AVIF")[:200]])
def test_a_mask_is_judged_without_an_image_that_cannot_be_decoded(bench: Bench, image: bytes) -> None:
    bench.with_image(image)
    assert bench.segment(hostile.picture(10, 10)).status == Status.OK
    assert bench.segment(hostile.picture(10, 10)[:-40]).status == Status.CORRUPT


def test_what_is_known_of_an_image_ends_with_its_identity(bench: Bench) -> None:
    bench.with_image(broken_image())
    assert bench.segment(hostile.picture(10, 10)).status == Status.OK
    bench.with_image(hostile.picture())
    assert bench.segment(hostile.picture(10, 10)).status == Status.CORRUPT


def test_the_images_that_are_remembered_are_bounded() -> None:
    kept = checks._Images()
    identity = Identity(1, 2, 3, 4)
    for number in range(checks._IMAGES_KEPT + 10):
        kept.remember(str(number), identity, True, pictures.Picture(1, 1))
    assert kept.find("0", identity, True) == (False, None)
    assert kept.find(str(checks._IMAGES_KEPT), identity, False) == (True, pictures.Picture(1, 1))
    assert len(kept._known) == checks._IMAGES_KEPT


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA"])
def test_a_mask_of_a_single_value_is_suspect_and_not_corrupt(bench: Bench, mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (64, 48)).save(buffer, "PNG")
    assert bench.segment(buffer.getvalue()) == Verdict(Status.OK, warnings=(ONE_VALUE,))


def test_a_mask_whose_alpha_alone_varies_has_more_than_one_value(bench: Bench) -> None:
    pixels = np.zeros((48, 64, 4), dtype=np.uint8)
    pixels[:20, :, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert bench.segment(buffer.getvalue()).warnings == ()


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (1, 48, 64)])
def test_a_mask_may_be_an_array(bench: Bench, shape: tuple[int, ...]) -> None:
    bench.with_image(hostile.picture())
    mask = np.zeros(shape, dtype=np.uint8)
    assert bench.segment(hostile.npy(mask)) == Verdict(Status.OK, warnings=(ONE_VALUE,))
    mask.flat[7] = 1
    assert bench.segment(hostile.npy(mask)) == Verdict(Status.OK)


@pytest.mark.parametrize("shape", [(64,), (), (0, 4), (1, 2, 3, 4), (64, 48)])
def test_an_array_of_another_shape_is_no_mask(bench: Bench, shape: tuple[int, ...]) -> None:
    bench.with_image(hostile.picture())
    assert bench.segment(hostile.npy(np.ones(shape))).status == Status.CORRUPT


# --- embeddings ------------------------------------------------------------------------------------


def test_a_raw_embedding_is_good_and_has_a_digest(bench: Bench) -> None:
    verdict = bench.embedding(hostile.embedding().tobytes())
    assert verdict == Verdict(Status.OK, digest=verdict.digest)
    assert verdict.digest is not None
    assert 0 <= verdict.digest < 2**63


def test_digests_are_alike_for_the_same_bytes_whatever_holds_them(bench: Bench) -> None:
    vector = hostile.embedding()
    raw = bench.embedding(vector.tobytes()).digest
    assert bench.embedding(hostile.npy(vector)).digest == raw
    vector[3] += 1
    assert bench.embedding(vector.tobytes()).digest != raw


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "<i4", "|i1", "|u1"])
@pytest.mark.parametrize("shape", [(512,), (1, 512), (512, 1)])
def test_an_array_of_dim_numbers_is_an_embedding_whatever_its_type(
    bench: Bench, dtype: str, shape: tuple[int, ...]
) -> None:
    vector = (np.arange(512) % 100).astype(dtype).reshape(shape)
    assert bench.embedding(hostile.npy(vector)).status == Status.OK


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_embedding_with_a_number_that_is_not_finite_is_corrupt(bench: Bench, value: float) -> None:
    vector = hostile.embedding()
    vector[100] = value
    for content in (vector.tobytes(), hostile.npy(vector)):
        verdict = bench.embedding(content)
        assert (verdict.status, verdict.detail) == (
            Status.CORRUPT,
            "embedding has numbers that are not finite",
        )


def test_an_embedding_of_zeros_is_corrupt_and_one_of_the_smallest_number_is_not(bench: Bench) -> None:
    vector = np.zeros(512, dtype=np.float32)
    assert bench.embedding(vector.tobytes()).detail == "embedding is all zeros: its norm is 0"
    vector[511] = 1e-45  # its square is 0 in float32, its norm is not
    assert bench.embedding(vector.tobytes()).status == Status.OK


@pytest.mark.parametrize(
    ("size", "expectation", "observed"),
    [
        (4 * 256, "verify.embedding.dtype", "float16"),
        (4 * 1024, "verify.embedding.dtype", "float64"),
        (4 * 768, "verify.embedding.dim", "768"),
        (4 * 511, "verify.embedding.dim", "511"),
        (2047, "verify.embedding.dim", "2047 bytes"),
    ],
)
def test_a_raw_embedding_of_another_length_names_the_key_by_which_it_fails(
    bench: Bench, size: int, expectation: str, observed: str
) -> None:
    verdict = bench.embedding(b"\x3f" * size)
    assert verdict.status == Status.CORRUPT
    assert (verdict.expectation, verdict.observed) == (expectation, observed)
    if not size % 4:
        assert f"{size // 4} " in verdict.detail, "also where it may be another type: how many numbers it has"


def test_an_array_of_another_length_names_dim(bench: Bench) -> None:
    verdict = bench.embedding(hostile.npy(hostile.embedding(768)))
    assert verdict.detail == "embedding has 768 values (shape (768)), 512 are expected"
    assert (verdict.expectation, verdict.observed) == ("verify.embedding.dim", "768")


def test_the_configured_type_and_length_decide(bench: Bench) -> None:
    verify = replace(VERIFY, embedding=EmbeddingCheckConfig(dtype="float16", dim=10))
    assert bench.embedding(hostile.embedding(10, "float16").tobytes(), verify).status == Status.OK
    assert bench.embedding(hostile.embedding(10, "float32").tobytes(), verify).observed == "float32"


def test_numbers_of_the_other_byte_order_are_read_as_their_header_says(bench: Bench) -> None:
    vector = np.array([1.0, 2.0, np.nan, 4.0], dtype=">f8")
    assert bench.embedding(hostile.npy(vector), SMALL).status == Status.CORRUPT


def test_headers_that_other_programs_write_are_read(bench: Bench) -> None:
    data = np.ones(4, dtype="<f4").tobytes()
    other = b"{\"shape\":(4,),\"fortran_order\":False,'descr':'<f4'}"
    for version in (1, 2, 3):
        assert bench.embedding(hostile.npy_header(other, version, data), SMALL).status == Status.OK


# --- keypoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["raw", "npy", "fortran"])
def test_keypoints_within_the_image_are_good(bench: Bench, form: str) -> None:
    bench.with_image(hostile.picture())
    points = hostile.keypoints()
    content = {
        "raw": points.tobytes(),
        "npy": hostile.npy(points),
        "fortran": hostile.npy(np.asfortranarray(points)),
    }
    assert bench.keypoints(content[form]) == Verdict(Status.OK)


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ((0, 0, 5), True),
        ((64, 48, -1), True),
        ((64.01, 48, 0), False),
        ((64, 48.01, 0), False),
        ((-0.01, 4, 0), False),
        ((4, -1, 0), False),
        ((48, 64, 0), False),
    ],
)
def test_the_first_two_columns_lie_between_zero_and_the_images_size(
    bench: Bench, row: tuple[float, ...], good: bool
) -> None:
    bench.with_image(hostile.picture())
    points = hostile.keypoints()
    points[9] = row
    for content in (points.tobytes(), hostile.npy(points)):
        assert bench.keypoints(content).status == (Status.OK if good else Status.CORRUPT)


def test_points_outside_name_how_far_they_reach(bench: Bench) -> None:
    bench.with_image(hostile.picture())
    points = hostile.keypoints()
    points[0] = (640, 20, 1)
    points[1:, 1] = 21
    assert bench.keypoints(hostile.npy(points)).detail == "keypoints reach to 640, 21, image is 64x48"
    points[3, 0] = -7
    assert bench.keypoints(hostile.npy(points)).detail == "keypoints have a negative coordinate, -7"


def test_points_may_be_those_of_the_turned_image(bench: Bench) -> None:
    bench.with_image(hostile.picture(form="JPEG", orientation=6))
    assert bench.keypoints(hostile.npy(np.array([[48.0, 64.0]]))).status == Status.OK
    # each lies within one of the two sizes, but not all within the same
    mixed = np.array([[64.0, 1.0], [1.0, 64.0]])
    assert bench.keypoints(hostile.npy(mixed)).status == Status.CORRUPT


@pytest.mark.parametrize("image", [broken_image(), b"404 not found"])
def test_keypoints_are_judged_without_an_image_that_cannot_be_decoded(bench: Bench, image: bytes) -> None:
    bench.with_image(image)
    points = hostile.keypoints() * 100
    assert bench.keypoints(points.tobytes()).status == Status.OK
    points[2, 2] = np.nan
    assert bench.keypoints(points.tobytes()).status == Status.CORRUPT


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 2])
def test_a_number_that_is_not_finite_is_corrupt_in_any_column(
    bench: Bench, column: int, value: float
) -> None:
    points = hostile.keypoints()
    points[16, column] = value
    for content in (points.tobytes(), hostile.npy(points), hostile.npz(a=points)):
        assert "not finite" in bench.keypoints(content).detail


def test_keypoints_without_a_row_are_suspect(bench: Bench) -> None:
    bench.with_image(hostile.picture())
    assert bench.keypoints(hostile.npy(np.zeros((0, 3)))) == Verdict(Status.OK, warnings=(NO_ROWS,))


@pytest.mark.parametrize("shape", [(51,), (), (17, 1), (1, 17, 3), (17, 0)])
def test_an_array_that_is_not_rows_of_two_columns_is_no_keypoints(
    bench: Bench, shape: tuple[int, ...]
) -> None:
    assert bench.keypoints(hostile.npy(np.ones(shape))).status == Status.CORRUPT


def test_complex_numbers_are_no_coordinates(bench: Bench) -> None:
    assert bench.keypoints(hostile.npy(np.ones((4, 3), dtype=complex))).status == Status.CORRUPT


@pytest.mark.parametrize(
    ("points", "expectation", "observed"),
    [
        (hostile.keypoints(columns=2), "verify.keypoints.columns", "2"),
        (hostile.keypoints(columns=4, rows=18), "verify.keypoints.columns", "2, 4, 6, 8"),
        (hostile.keypoints().astype("<f8"), "verify.keypoints.dtype", "float64"),
        (hostile.keypoints().astype("<f2"), "verify.keypoints.dtype", "float16"),
    ],
)
def test_keypoints_that_another_setting_would_make_good_name_it(
    bench: Bench, points: np.ndarray, expectation: str, observed: str
) -> None:
    bench.with_image(hostile.picture(64, 48))
    points = points.copy()
    points[:, 0] = 60  # further than the image is high
    verdict = bench.keypoints(points.tobytes())
    assert verdict.status == Status.CORRUPT
    assert (verdict.expectation, verdict.observed) == (expectation, observed)


def test_keypoints_that_no_setting_makes_good_name_none(bench: Bench) -> None:
    bench.with_image(hostile.picture())
    points = hostile.keypoints() * 10
    assert bench.keypoints(points.tobytes()).expectation is None
    assert bench.keypoints(points.tobytes()[:-1]).expectation is None


@pytest.mark.parametrize("points", [[[65, 7, 1]], [[65.001, 7, 1]], [[60, 49, 0.5], [1, 2, 0.5]]])
def test_points_beyond_their_image_are_not_blamed_on_the_type(
    bench: Bench, points: list[list[float]]
) -> None:
    """Read as half as long numbers, the bytes of whole ones happen to lie within any image."""
    verdict = bench.with_image(hostile.picture(64, 48)).keypoints(np.array(points, "<f4").tobytes())
    assert verdict.status == Status.CORRUPT
    assert verdict.expectation != "verify.keypoints.dtype"


def test_the_configured_columns_decide(bench: Bench) -> None:
    verify = replace(VERIFY, keypoints=KeypointsCheckConfig(dtype="float64", columns=2))
    bench.with_image(hostile.picture())
    assert bench.keypoints(hostile.keypoints(columns=2).astype("<f8").tobytes(), verify).status == Status.OK


# --- archives --------------------------------------------------------------------------------------


def test_an_archive_is_held_to_its_checksums_and_finite_numbers_alone(bench: Bench) -> None:
    bench.with_image(hostile.picture())
    far = hostile.keypoints() * 1000
    assert bench.keypoints(hostile.npz(a=far, b=np.array(["text"]))) == Verdict(Status.OK)
    assert bench.keypoints(hostile.npz()) == Verdict(Status.OK, warnings=(NO_ROWS,))


VECTOR, MIXED = hostile.embedding(), {"a": hostile.embedding(7), "b": np.array([{}], dtype=object)}


@pytest.mark.parametrize(
    ("arrays", "status", "expectation"),
    [
        ({"a": VECTOR, "box": np.ones(4)}, Status.OK, None),
        ({"a": VECTOR.reshape(1, 512).astype(">f8")}, Status.OK, None),
        ({"a": VECTOR[:7], "box": np.ones(4)}, Status.CORRUPT, "verify.embedding.dim"),
        ({"a": VECTOR * 0, "box": np.ones(4)}, Status.CORRUPT, None),
        ({"a": VECTOR * 0, "b": VECTOR}, Status.OK, None),
        ({}, Status.CORRUPT, None),
        (MIXED, Status.OK, None),
    ],
)
def test_an_archive_holds_an_embedding_unless_it_holds_what_is_never_loaded(
    bench: Bench, arrays: dict[str, np.ndarray], status: Status, expectation: str | None
) -> None:
    verdict = bench.embedding(hostile.npz(**arrays))
    assert (verdict.status, verdict.expectation) == (status, expectation)


@pytest.mark.parametrize(
    ("arrays", "status", "expectation"),
    [
        ({"mask": np.ones((48, 64)), "box": np.ones(4)}, Status.OK, None),
        ({"mask": np.ones((3, 48, 64))}, Status.OK, None),
        ({"mask": np.ones((64, 48))}, Status.CORRUPT, "verify.segment.size"),
        ({"box": np.ones(4)}, Status.CORRUPT, None),
        ({}, Status.CORRUPT, None),
        (MIXED, Status.OK, None),
    ],
)
def test_an_archive_holds_a_mask_unless_it_holds_what_is_never_loaded(
    bench: Bench, arrays: dict[str, np.ndarray], status: Status, expectation: str | None
) -> None:
    verdict = bench.with_image(hostile.picture(64, 48)).segment(hostile.npz(**arrays))
    assert (verdict.status, verdict.expectation) == (status, expectation)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_any_changed_byte_of_a_members_data_is_noticed(bench: Bench, compression: int) -> None:
    content = hostile.archive({"a.npy": hostile.npy(hostile.keypoints())}, compression)
    start, end = 30 + len("a.npy"), content.index(b"PK\x01\x02")
    for position in range(start, end, 7):
        assert bench.keypoints(hostile.altered(content, position)).status == Status.CORRUPT


def test_a_large_array_is_read_across_the_borders_of_its_chunks(bench: Bench) -> None:
    values = np.ones(700_001)
    assert bench.keypoints(hostile.npz(a=values)).status == Status.OK
    for position in (0, 131_000, 131_072, 700_000):
        values[position] = np.nan
        assert bench.keypoints(hostile.npz(a=values)).status == Status.CORRUPT
        values[position] = 1


def test_an_archive_that_takes_too_long_is_unchecked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ARCHIVE_SECONDS", -1.0)
    verdict = bench.keypoints(hostile.npz(a=np.ones(700_000)))
    assert verdict == Verdict(Status.UNCHECKED, "takes too long to decompress")


# --- files that are not what was listed ------------------------------------------------------------


def test_a_file_that_is_gone_or_replaced_is_to_be_looked_at_again(bench: Bench) -> None:
    path = bench.root / "file"
    path.write_bytes(hostile.picture())
    task = bench.task(path, Feature.IMAGE)
    path.write_bytes(hostile.picture() + b"more")
    assert check(task, VERIFY).status == Status.VANISHED
    path.unlink()
    assert check(task, VERIFY) == Verdict(Status.VANISHED, "ENOENT: no such file or directory")


def test_a_file_that_changes_while_it_is_read_is_to_be_looked_at_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.root / "file"
    path.write_bytes(b"404 not found")
    task = bench.task(path, Feature.IMAGE)

    def shrink(head: bytes) -> None:
        os.truncate(path, 3)

    monkeypatch.setattr(pictures, "sniff", shrink)
    assert check(task, VERIFY).status == Status.VANISHED


def test_a_file_that_shrinks_before_it_is_read_whole_is_to_be_looked_at_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.root / "file"
    path.write_bytes(hostile.npy(np.ones((100_000, 3))))
    task = bench.task(path, Feature.KEYPOINTS)
    real = checks.parse_header

    def shrinking(head: bytes) -> object:
        os.truncate(path, 20_000)
        return real(head)

    monkeypatch.setattr(checks, "parse_header", shrinking)
    assert check(task, VERIFY).status == Status.VANISHED


def test_an_image_that_changed_or_went_sends_its_mask_back(bench: Bench) -> None:
    bench.with_image(hostile.picture())
    mask = bench.root / "file"
    mask.write_bytes(hostile.picture(10, 10))
    task = bench.task(mask, Feature.SEGMENT)
    assert bench.image is not None
    bench.image.write_bytes(hostile.picture(10, 10, "JPEG"))
    assert check(task, VERIFY).status == Status.VANISHED
    bench.image.unlink()
    assert check(task, VERIFY).status == Status.VANISHED


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "device"])
def test_what_is_no_regular_file_is_never_read(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.root)  # a socket's path must be short
    path = bench.root / "file"
    listener = None
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("file")
    else:
        path = Path("/dev/zero")
    try:
        assert check(bench.task(path, Feature.IMAGE), VERIFY).status == Status.VANISHED
    finally:
        if listener is not None:
            listener.close()


def test_a_symlink_counts_only_where_its_target_lies_below_a_root(bench: Bench, tmp_path: Path) -> None:
    inside, outside = tmp_path / "root", tmp_path / "root-not"
    for directory in (inside, outside):
        directory.mkdir()
        (directory / "target").write_bytes(hostile.picture())
    bench.root = inside
    for target, status in ((inside, Status.OK), (outside, Status.VANISHED)):
        link = inside / f"link-{target.name}"
        link.symlink_to(target / "target")
        task = bench.task(link, Feature.IMAGE)
        assert check(task, VERIFY).status == status
        assert check(task, VERIFY, [str(outside)]).status == Status.OK
    circle = inside / "circle"
    circle.symlink_to(circle)
    assert check(replace(task, path=str(circle)), VERIFY).status == Status.VANISHED


def test_a_name_that_becomes_a_symlink_between_looking_and_opening_is_not_followed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.root / "file"
    path.write_bytes(hostile.picture())
    task = bench.task(path, Feature.IMAGE)
    real = os.open

    def swapped(name: str, flags: int) -> int:
        path.rename(bench.root / "away")
        path.symlink_to("away")
        return real(name, flags)

    monkeypatch.setattr(contentfile.os, "open", swapped)
    assert check(task, VERIFY) == Verdict(Status.VANISHED, "ELOOP: too many levels of symbolic links")


# --- what the system refuses -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
@pytest.mark.parametrize("call", ["lstat", "open", "pread"])
def test_an_error_of_the_system_is_no_verdict(
    bench: Bench, code: int, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.root / "file"
    path.write_bytes(hostile.picture())
    task = bench.task(path, Feature.IMAGE)

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(contentfile.os, call, refused)
    verdict = check(task, VERIFY)
    assert verdict.status == Status.UNCHECKED
    assert verdict.detail.startswith(errno.errorcode[code] + ": ")


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("feature", [Feature.IMAGE, Feature.KEYPOINTS])
def test_an_error_while_a_decoder_reads_is_no_verdict_whatever_the_decoder_makes_of_it(
    bench: Bench, large: bool, feature: Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(contentfile, "_WHOLE_BYTES", 0)
    path = bench.root / "file"
    path.write_bytes(hostile.picture() if feature is Feature.IMAGE else hostile.npz(a=hostile.keypoints()))
    task = bench.task(path, feature)

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(contentfile.os, "preadv", failing)
    assert check(task, VERIFY) == Verdict(Status.UNCHECKED, "EIO: input/output error")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_unchecked(bench: Bench) -> None:
    path = bench.root / "file"
    path.write_bytes(hostile.picture())
    path.chmod(0)
    verdict = check(bench.task(path, Feature.IMAGE), VERIFY)
    assert verdict == Verdict(Status.UNCHECKED, "EACCES: permission denied")


def test_a_mask_is_judged_without_an_image_that_the_system_refuses_and_that_is_not_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.with_image(hostile.picture())
    path = bench.root / "file"
    path.write_bytes(hostile.picture(10, 10))
    task = bench.task(path, Feature.SEGMENT)
    real = os.open

    def refused(name: str, flags: int) -> int:
        if name == task.image_path:
            raise OSError(errno.EACCES, "no")
        return real(name, flags)

    with monkeypatch.context() as patch:
        patch.setattr(contentfile.os, "open", refused)
        assert check(task, VERIFY).status == Status.OK
    assert check(task, VERIFY).status == Status.CORRUPT


def test_large_files_are_read_in_pieces_with_the_same_verdicts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contentfile, "_WHOLE_BYTES", 0)
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "GIF"):
        content = hostile.picture(form=form)
        assert bench.judge(Feature.IMAGE, content).status == Status.OK
        assert bench.judge(Feature.IMAGE, content[:-500]).status == Status.CORRUPT
    assert bench.keypoints(hostile.npz(a=hostile.keypoints())).status == Status.OK


def test_an_array_larger_than_the_memory_is_unchecked_without_being_read(bench: Bench) -> None:
    path = bench.root / "file"
    path.touch()
    os.truncate(path, 12 << 40)  # sparse
    verdict = check(bench.task(path, Feature.KEYPOINTS), VERIFY)
    assert verdict == Verdict(Status.UNCHECKED, "needs more than the 512 MB that a check may use")
    assert check(bench.task(path, Feature.EMBEDDING), VERIFY).status == Status.CORRUPT


# --- the corpus ------------------------------------------------------------------------------------


def test_every_hostile_file_has_a_right_verdict_and_nothing_is_executed(bench: Bench) -> None:
    marker = bench.root / "created-by-a-pickle"
    wrong = []
    for case in hostile.corpus(marker):
        verdict = bench.judge(case.feature, case.content)
        if verdict.status not in case.expected:
            wrong.append((case.name, case.feature.wire, verdict))
        assert len(verdict.detail) <= 300
        assert verdict.detail or verdict.status == Status.OK
    assert wrong == []
    assert not marker.exists()


@pytest.mark.parametrize("feature", list(Feature))
def test_a_file_without_bytes_is_corrupt(bench: Bench, feature: Feature) -> None:
    assert bench.judge(feature, b"") == Verdict(Status.CORRUPT, "is empty")


def test_a_detail_holds_no_text_that_cannot_be_written_down(bench: Bench) -> None:
    content = hostile.archive({"a" * 9000: b"x"}, zipfile.ZIP_STORED)
    detail = bench.keypoints(hostile.altered(content, 30 + 9000)).detail
    assert 0 < len(detail) <= 300


_SEEDS = [
    (Feature.IMAGE, hostile.picture(form="JPEG")),
    (Feature.IMAGE, hostile.picture(form="TIFF")),
    (Feature.SEGMENT, hostile.picture(mode="L")),
    (Feature.SEGMENT, hostile.npy(np.eye(8, dtype=np.uint8))),
    (Feature.EMBEDDING, hostile.npy(hostile.embedding())),
    (Feature.KEYPOINTS, hostile.npy(hostile.keypoints())),
    (Feature.KEYPOINTS, hostile.npz(a=hostile.keypoints(), b=hostile.embedding())),
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(_SEEDS),
    places=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    keep=st.floats(0.1, 1.0),
)
def test_no_change_to_a_good_file_makes_a_check_raise(
    bench: Bench, seed: tuple[Feature, bytes], places: list[tuple[int, int]], keep: float
) -> None:
    feature, content = seed
    for position, value in places:
        content = hostile.altered(content, position, value)
    verdict = bench.judge(feature, content[: int(len(content) * keep)])
    assert verdict.status in (Status.OK, Status.CORRUPT, Status.UNCHECKED)

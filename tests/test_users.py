"""Who uses a file: by rows, by patterns, and as which feature."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from scanner.config import load_config
from scanner.index import Index
from scanner.listing import Lister, Listing
from scanner.records import AssetRow, AssetType, Feature
from scanner.rows import Rows, Table

FRAME = AssetType.VIDEO_FRAME
LAYOUT = '[layout.frames]\nsegment = ["frames/{video_id}/mask.png"]\n'


def test_every_asset_that_uses_a_file_is_told_with_its_image(tmp_path: Path) -> None:
    """A pattern with few names gives it to all frames of a video, a row to a product as something else."""
    (tmp_path / "config.toml").write_text(LAYOUT)
    data = tmp_path / "data"
    for name in (
        "frames/v/1.jpg",
        "frames/v/2.jpg",
        "frames/v/mask.png",
        "frames/w/1.jpg",
        "products/p/1.jpg",
    ):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x")
    url = f"sqlite:///{tmp_path}/none.db"
    config = load_config(
        environ={"SIDECAR_DATA__ROOT": str(data), "SIDECAR_DATABASE__URL": url}, cwd=str(tmp_path)
    )
    row = AssetRow(
        AssetType.PRODUCT_IMAGE, "own", "p", local_path="products/p/1.jpg", keypoints="frames/v/mask.png"
    )
    with closing(Index(str(tmp_path / "index.db"), config)) as index:
        lister = Lister(config.data.root, config.scan.ignore)
        with index.transaction():
            for folder in ("frames", "frames/v", "frames/w", "products", "products/p"):
                listing = lister.look(folder)
                assert isinstance(listing, Listing)
                index.apply(listing, lambda path, entry: False)
            index.put(Rows(Table.PRODUCT_IMAGES, [row]))
        uses = index.users.of(["frames/v/mask.png", "frames/w/1.jpg", "frames/v/none.png"])
    assert uses == {
        "frames/v/mask.png": {
            ((FRAME, "v_frame_1"), Feature.SEGMENT): "frames/v/1.jpg",
            ((FRAME, "v_frame_2"), Feature.SEGMENT): "frames/v/2.jpg",
            ((AssetType.PRODUCT_IMAGE, "own"), Feature.KEYPOINTS): "products/p/1.jpg",
        },
        "frames/w/1.jpg": {((FRAME, "w_frame_1"), Feature.IMAGE): "frames/w/1.jpg"},
        "frames/v/none.png": {},
    }

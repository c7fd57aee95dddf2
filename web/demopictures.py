"""What the demo's files hold: pictures of a product in a scene, and what a worker would derive from them.

Everything follows from a number, so that a file that was broken can be made again as it was.
"""

from __future__ import annotations

import colorsys
import io
import math
import random

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageOps

EMBEDDING_VALUES = 512
_KEYPOINTS = 40
Size = tuple[int, int]


def picture(seed: int, hue: float, size: Size, moment: float = 0.0, format: str = "JPEG") -> bytes:
    """An encoded picture: a bottle-like product before a gradient; ``moment`` (0 to 1) moves it across."""
    scene = _background(hue, size)
    draw = ImageDraw.Draw(scene)
    box = product_box(seed, size, moment)
    left, _, right, bottom = box
    shadow = (left - 6, bottom - 8, right + 18, bottom + 8)
    draw.ellipse(shadow, fill=_colour(hue, 0.4, 0.25))
    _draw_product(draw, box, _colour(hue + 0.45, 0.65, 0.85), _colour(hue + 0.1, 0.2, 0.95))
    return _encoded(scene, format)


def mask(seed: int, size: Size, moment: float = 0.0) -> bytes:
    """The PNG mask of the product in :func:`picture`: 255 where it is, 0 elsewhere."""
    image = Image.new("L", size, 0)
    _draw_product(ImageDraw.Draw(image), product_box(seed, size, moment), 255, 255)
    return _encoded(image, "PNG")


def embedding(seed: int) -> bytes:
    """512 float32 values of norm 1."""
    values = np.random.default_rng(seed).standard_normal(EMBEDDING_VALUES)
    return (values / np.linalg.norm(values)).astype("<f4").tobytes()


def keypoints(seed: int, size: Size, moment: float = 0.0) -> bytes:
    """Rows of x, y and confidence as float32, all of them on the product."""
    left, top, right, bottom = product_box(seed, size, moment)
    chosen = np.random.default_rng(seed).random((_KEYPOINTS, 3))
    rows = chosen * [right - left, bottom - top, 1] + [left, top, 0]
    return rows.astype("<f4").tobytes()


def product_box(seed: int, size: Size, moment: float = 0.0) -> tuple[int, int, int, int]:
    """Where the product is: left, top, right, bottom, all inside the picture."""
    width, height = size
    chance = random.Random(seed)
    wide, high = width * chance.uniform(0.16, 0.24), height * chance.uniform(0.5, 0.65)
    x = (width - wide) * (0.3 + 0.4 * moment)
    y = (height - high) * (0.6 + 0.25 * math.sin(moment * math.tau))
    return int(x), int(y), int(x + wide), int(y + high)


def _draw_product(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    body: int | tuple[int, int, int],
    cap: int | tuple[int, int, int],
) -> None:
    left, top, right, bottom = box
    shoulder = top + (bottom - top) // 4
    inset = (right - left) // 3
    draw.rectangle((left + inset, top, right - inset, shoulder), fill=cap)
    draw.rounded_rectangle((left, shoulder, right, bottom), radius=inset, fill=body)


def _background(hue: float, size: Size) -> Image.Image:
    gradient = Image.linear_gradient("L").rotate(90 if hue > 0.5 else 0).resize(size)
    return ImageOps.colorize(gradient, _colour(hue, 0.25, 0.98), _colour(hue + 0.08, 0.45, 0.55))


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    text = f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
    return ImageColor.getrgb(text)[:3]


def _encoded(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 85} if format == "JPEG" else {}))
    return buffer.getvalue()

"""`image_resize`: an image under FERRYMAN_FILES in, a smaller or larger copy out, with Pillow."""

from __future__ import annotations

from errno import EINVAL
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from annotated_types import Ge, Le

from ferryman import Bury, Ferryman
from ferryman_worker.jobs.files import existing, inside, whole
from ferryman_worker.jobs.payloads import misfit

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 10_000
MAX_PIXELS = 50_000_000
"""Of the source and of the target: 200 MB each once decoded."""

FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""What is read and written; Pillow's other decoders stay shut (its EPS one starts Ghostscript)."""

Side = Annotated[int, Ge(1), Le(MAX_SIDE)]
Size = tuple[int, int]


def register(ferry: Ferryman) -> None:
    @ferry.job("image_resize")
    def image_resize(
        source: str,
        target: str,
        width: Side | None = None,
        height: Side | None = None,
        exact: bool = False,
    ) -> dict[str, str | int]:
        if width is None and height is None:
            raise misfit("width", "expected a width, a height or both")
        folder = ferry.settings.files
        out = inside(folder, target)
        form = format_of(target)
        image = resized(read(existing(folder, source), source), width, height, exact)
        size = write(image, out, form)
        made: dict[str, str | int] = {"source": source, "target": target, "format": form.lower()}
        return made | {"width": image.width, "height": image.height, "bytes": size}


def format_of(target: str) -> str:
    """Pillow's name for the format that the ending of a file name asks for; Bury when unknown."""
    form = FORMATS.get(Path(target).suffix.lower())
    if form is None:
        raise Bury(f"target {target!r}: expected a name ending in one of {', '.join(FORMATS)}")
    return form


def read(path: Path, name: str) -> Image:
    """The first frame of an image, upright, decoded only once its size is known to be harmless.

    Raises Bury when it is no image, damaged, cut short or more than MAX_PIXELS large.
    """
    with path.open("rb") as file:
        try:
            return _decode(file, name)
        except (Bury, MemoryError):
            raise
        except Exception as error:
            # Damaged files make Pillow raise almost anything. An OSError with a number is the
            # disk's and worth another try, but for EINVAL: a seek to an offset that is nonsense.
            if isinstance(error, OSError) and error.errno not in (None, EINVAL):
                raise
            raise Bury(f"source {name!r} is not an image that can be read: {error}") from error


def _decode(file: BinaryIO, name: str) -> Image:
    from PIL import Image, ImageOps

    image = Image.open(file, formats=sorted(set(FORMATS.values())))
    if image.width * image.height > MAX_PIXELS:
        raise Bury(f"source {name!r} is {image.width} x {image.height}: over {MAX_PIXELS:,} pixels")
    # Cameras store the picture as the sensor saw it, and beside it which way is up.
    return ImageOps.exif_transpose(image)


def resized(image: Image, width: int | None, height: int | None, exact: bool) -> Image:
    """A copy that fits the width, the height, or both; the shape is kept unless `exact`."""
    from PIL.Image import Resampling

    size = fitted((image.width, image.height), width, height, exact)
    return _smooth(image).resize(size, Resampling.LANCZOS, reducing_gap=3.0)


def fitted(size: Size, width: int | None, height: int | None, exact: bool) -> Size:
    """The new width and height; Bury when a picture of that size is more than is allowed."""
    if exact and width and height:
        new = (width, height)
    else:
        asked = ((width, size[0]), (height, size[1]))
        scale = min(side / old for side, old in asked if side)
        new = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    if max(new) > MAX_SIDE or new[0] * new[1] > MAX_PIXELS:
        limit = f"over {MAX_SIDE:,} a side or {MAX_PIXELS:,} pixels"
        raise Bury(f"the target would be {new[0]} x {new[1]}: {limit}")
    return new


def _smooth(image: Image) -> Image:
    """The same picture in a mode that can be averaged and saved: L, LA, RGB or RGBA."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    if image.mode != "P":
        image.info.pop("icc_profile", None)  # it describes the ink or light of the old mode
    if image.mode.startswith("I"):
        # 16 bits a pixel: Pillow would clip at 255 instead of scaling.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("1", "F"):
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def write(image: Image, path: Path, form: str) -> int:
    """Save whole or not at all; the bytes written. EXIF (place, camera) is left behind."""
    flat = _opaque(image) if form in ("JPEG", "BMP") else image
    with whole(path) as file:
        flat.save(file, form, icc_profile=image.info.get("icc_profile"))
        return file.seek(0, 2)


def _opaque(image: Image) -> Image:
    """On white, for formats that know no transparency."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")

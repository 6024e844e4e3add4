"""`image_resize` with real files made by Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from ferryman import Bury, Context, Ferryman, Settings
from ferryman.context import BadPayload
from ferryman_worker.jobs import register
from ferryman_worker.jobs.image_resize import FORMATS

Resize = Callable[..., Any]
CONTEXT = Context("job-1", "image_resize", "default", 1, 0, 3, 60.0)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def resize(files: Path) -> Resize:
    """Runs an `image_resize` job, by default cat.png to small.png."""

    def run(**payload: Any) -> Any:
        ferry = Ferryman(Settings(files=str(files)))
        register(ferry)
        job_type = ferry.registry.get("image_resize")
        assert job_type is not None
        return job_type.call({"source": "cat.png", "target": "small.png"} | payload, CONTEXT)

    return run


def picture(path: Path, size: tuple[int, int] = (40, 20), mode: str = "RGB") -> Path:
    image = Image.linear_gradient("L").resize(size)
    if mode == "I;16":
        image = image.convert("I").point(lambda value: value * 257)
    image.convert(mode).save(path)
    return path


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def test_a_png_gets_the_width_asked_for_and_keeps_its_shape(files: Path, resize: Resize) -> None:
    picture(files / "cat.png")
    result = resize(width=10)
    assert size_of(files / "small.png") == (10, 5)
    assert result == {
        "source": "cat.png",
        "target": "small.png",
        "format": "png",
        "width": 10,
        "height": 5,
        "bytes": (files / "small.png").stat().st_size,
    }


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({"height": 5}, (10, 5)),
        ({"width": 80}, (80, 40)),
        ({"width": 10, "height": 10}, (10, 5)),
        ({"width": 10, "height": 10, "exact": True}, (10, 10)),
        ({"width": 10, "exact": True}, (10, 5)),
        ({"width": 1}, (1, 1)),
    ],
)
def test_the_picture_fits_what_was_asked_for(
    files: Path, resize: Resize, asked: dict[str, Any], made: tuple[int, int]
) -> None:
    picture(files / "cat.png")
    result = resize(**asked)
    assert (result["width"], result["height"]) == made == size_of(files / "small.png")


@pytest.mark.parametrize("ending", sorted(FORMATS))
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_picture_can_be_saved_in_every_format(
    files: Path, resize: Resize, mode: str, ending: str
) -> None:
    if ending == ".webp" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    picture(files / "cat.png", mode=mode)
    result = resize(target=f"small{ending}", width=10)
    with Image.open(files / f"small{ending}") as image:
        assert image.format == FORMATS[ending]
        assert result["format"] == FORMATS[ending].lower()
        # A gradient from black to white must still be one: nothing clipped, nothing inverted.
        gray = image.convert("L").resize((1, 2), Image.Resampling.BOX)
        dark, light = gray.tobytes()
        assert dark < 100
        assert light > 155


def test_what_was_transparent_is_white_where_a_format_has_no_transparency(
    files: Path, resize: Resize
) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(files / "cat.png")
    resize(target="small.jpg", width=2)
    with Image.open(files / "small.jpg") as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_a_photo_comes_out_upright_and_without_its_exif(files: Path, resize: Resize) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    exif[0x010F] = "a camera"
    Image.new("RGB", (40, 20)).save(files / "cat.jpg", exif=exif)
    result = resize(source="cat.jpg", target="small.jpg", width=10)
    assert (result["width"], result["height"]) == (10, 20) == size_of(files / "small.jpg")
    with Image.open(files / "small.jpg") as image:
        assert not image.getexif()


def test_the_target_may_be_the_source_or_in_a_new_folder(files: Path, resize: Resize) -> None:
    picture(files / "cat.png")
    resize(target="a/b/small.png", width=10)
    resize(target="cat.png", width=20)
    assert size_of(files / "a/b/small.png") == (10, 5)
    assert size_of(files / "cat.png") == (20, 10)


def test_a_second_run_leaves_one_target_and_nothing_beside_it(files: Path, resize: Resize) -> None:
    picture(files / "cat.png")
    assert resize(width=10) == resize(width=10)
    assert sorted(path.name for path in files.iterdir()) == ["cat.png", "small.png"]


def test_a_source_that_is_not_there_yet_is_worth_another_try(files: Path, resize: Resize) -> None:
    with pytest.raises(FileNotFoundError, match=r"cat\.png"):
        resize(width=10)
    picture(files / "cat.png")
    assert resize(width=10)["width"] == 10


@pytest.mark.parametrize("field", ["source", "target"])
@pytest.mark.parametrize(
    "name",
    [
        "../out.png",
        "a/../../out.png",
        "OUTSIDE/out.png",
        "link/out.png",
        "link.png",
        "out.png\x00.png",
        ".",
        "",
    ],
)
def test_no_path_leads_out_of_the_folder(
    files: Path, resize: Resize, tmp_path: Path, field: str, name: str
) -> None:
    picture(files / "cat.png")
    before = picture(tmp_path / "out.png").read_bytes()
    (files / "link").symlink_to(tmp_path)
    (files / "link.png").symlink_to(tmp_path / "out.png")
    with pytest.raises(Bury, match="is not a path inside FERRYMAN_FILES"):
        resize(width=10, **{field: name.replace("OUTSIDE", str(tmp_path))})
    assert (tmp_path / "out.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "out.png"]


def test_a_link_that_stays_in_the_folder_is_followed(files: Path, resize: Resize) -> None:
    picture(files / "real.png")
    (files / "cat.png").symlink_to(files / "real.png")
    assert resize(width=10)["width"] == 10


def bomb(path: Path, width: int, height: int) -> None:
    """A PNG that says it is huge: the header is all a reader may look at."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_000, 5_001), (12_000, 12_000), (100_000, 100_000)])
def test_a_bomb_is_refused_by_its_header(
    files: Path, resize: Resize, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("a bomb was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    bomb(files / "cat.png", *size)
    with pytest.raises(Bury, match="pixels"):
        resize(width=10)


def test_a_target_of_too_many_pixels_is_refused(files: Path, resize: Resize) -> None:
    picture(files / "cat.png", (2, 200))
    with pytest.raises(Bury, match="would be 1000 x 100000"):
        resize(width=1000)
    with pytest.raises(Bury, match="would be 10000 x 10000"):
        resize(width=10_000, height=10_000, exact=True)


@pytest.mark.parametrize("cut", [0, 8, 40, 200])
def test_what_is_no_image_or_cut_short_is_buried(files: Path, resize: Resize, cut: int) -> None:
    whole = picture(files / "cat.png", (200, 200), "RGB").read_bytes()
    (files / "cat.png").write_bytes(whole[:cut])
    with pytest.raises(Bury, match=r"'cat\.png' is not an image that can be read"):
        resize(width=10)
    assert not (files / "small.png").exists()


@pytest.mark.parametrize("form", ["EPS", "PPM"])
def test_a_format_that_is_not_on_the_list_is_not_read(
    files: Path, resize: Resize, form: str
) -> None:
    Image.new("RGB", (4, 4)).save(files / "cat.png", form)
    with pytest.raises(Bury, match="not an image"):
        resize(width=2)


def test_a_target_of_an_unknown_format_is_buried_naming_the_known_ones(resize: Resize) -> None:
    with pytest.raises(Bury, match=r"small\.svg.*\.webp"):
        resize(target="small.svg", width=10)


@pytest.mark.parametrize(
    "sides", [{}, {"width": 0}, {"width": 10_001}, {"height": -1}, {"height": "tall"}]
)
def test_sides_out_of_range_do_not_fit_the_payload(resize: Resize, sides: dict[str, Any]) -> None:
    with pytest.raises(BadPayload, match=r"payload does not fit: (width|height)"):
        resize(**sides)

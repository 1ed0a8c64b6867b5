import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, features

from t2c_search.decoding import rgb
from t2c_search.decoding.decode import DecodedImage, decode, decode_file, read_header
from t2c_search.decoding.files import read_file
from t2c_search.errors import ImageError
from tests.indexing.support import picture

ORIENTATION = 0x0112
STORED_AS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # where row 0 and column 0 lie, EXIF 2.32, section 4.6.5
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda a: a[::-1].swapaxes(0, 1),  # left, bottom
}


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixels(decoded: DecodedImage) -> np.ndarray:
    assert decoded.pixels.mode == "RGB"
    return np.asarray(decoded.pixels, np.int16)


def png(width: int, height: int, colour_type: int, deflated: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", deflated) + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and delivers almost none of them."""
    return png(width, height, 2, zlib.compress(bytes(100)))


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 98, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("HEIF", {"quality": -1}),
        pytest.param(
            "AVIF",
            {"quality": 100, "subsampling": "4:4:4"},
            marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no codec for AVIF"),
        ),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(format: str, options: dict[str, object], orientation: int) -> None:
    upright = picture(1)
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](np.asarray(upright))))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(stored, format, exif=exif.tobytes(), **options)  # pillow_heif turns it into a HEIF rotation
    for decode_size in (None, 16):
        decoded = decode(content, decode_size)
        assert (decoded.width, decoded.height, decoded.format) == (96, 64, format)
        expected = upright.resize(decoded.pixels.size, Image.Resampling.BOX)
        assert np.abs(pixels(decoded) - np.asarray(expected, np.int16)).mean() < 3
    header = read_header(content)
    assert (header.width, header.height) == (96, 64)


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300))
def test_large_jpegs_are_scaled_but_never_below_twice_the_size_needed(width: int, height: int, needed: int) -> None:
    assume(max(width, height) <= 100 * min(width, height))
    decoded = decode(encoded(Image.new("RGB", (width, height)), "JPEG"), needed)
    assert (decoded.width, decoded.height) == (width, height)
    shorter, scaled = min(width, height), min(decoded.pixels.size)
    assert scaled >= min(shorter, 2 * needed)
    assert scaled <= 4 * needed or scaled == shorter or shorter >= 16 * needed


def test_scaled_jpeg_looks_like_the_whole_one() -> None:
    content = encoded(picture(2, (1600, 1200)), "JPEG", quality=95)
    small, whole = decode(content, 75), decode(content, None)
    assert small.pixels.size == (200, 150)
    reduced = whole.pixels.resize((200, 150), Image.Resampling.BOX)
    assert np.abs(pixels(small) - np.asarray(reduced, np.int16)).mean() < 1


def test_transparency_is_laid_on_white() -> None:
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    red.putalpha(Image.linear_gradient("L").resize((8, 8)))
    clear = Image.new("P", (8, 8), 1)
    clear.putpalette([9, 9, 9, 200, 100, 50])
    grey = Image.new("LA", (8, 8), (0, 0))
    blended = pixels(decode(encoded(red, "PNG"), None))
    alpha = np.asarray(red.getchannel("A"), np.float64)
    np.testing.assert_allclose(blended[..., 0], 255)
    np.testing.assert_allclose(blended[..., 1], 255 - alpha, atol=1)
    assert (pixels(decode(encoded(clear, "PNG", transparency=1), None)) == 255).all()
    assert (pixels(decode(encoded(clear, "PNG"), None)) == (200, 100, 50)).all()
    assert (pixels(decode(encoded(grey, "PNG"), None)) == 255).all()


def test_modes_that_models_do_not_know_become_rgb() -> None:
    image = picture(3)
    expected = np.asarray(image, np.int16)
    assert np.abs(pixels(decode(encoded(image.convert("CMYK"), "JPEG", quality=98), None)) - expected).mean() < 3
    assert np.abs(pixels(decode(encoded(image.quantize(256), "PNG"), None)) - expected).mean() < 8
    assert (pixels(decode(encoded(Image.new("1", (4, 4), 1), "TIFF"), None)) == 255).all()


def test_deep_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).repeat(4).reshape(16, 64)
    grey = pixels(decode(encoded(Image.fromarray(ramp), "PNG"), None))
    assert (grey == (ramp >> 8)[..., None]).all()
    floats = (ramp.astype(np.float32) - 30_000) / 1e6
    floats[0, 0] = np.nan
    stretched = pixels(decode(encoded(Image.fromarray(floats), "TIFF"), None))[..., 0]
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert (np.diff(stretched.ravel()[1:]) >= 0).all()
    assert (pixels(decode(encoded(Image.fromarray(np.full((4, 4), 7, np.float32)), "TIFF"), None)) == 0).all()


IN_EVERY_MODE = {
    "RGB": picture(7, (300, 203)),
    "RGBA": Image.merge("RGBA", [*picture(7, (300, 203)).split(), Image.linear_gradient("L").resize((300, 203))]),
    "LA": Image.merge("LA", [picture(8, (300, 203)).convert("L"), Image.radial_gradient("L").resize((300, 203))]),
    "P": picture(9, (300, 203)).quantize(200),
    "1": picture(10, (300, 203)).convert("1"),
    "I;16": Image.fromarray(np.arange(60_900, dtype=np.uint16).reshape(203, 300)),
    "CMYK": picture(7, (300, 203)).convert("CMYK"),
}


@pytest.mark.parametrize("mode", IN_EVERY_MODE)
@pytest.mark.parametrize(("decode_size", "factor"), [(20, 5), (None, 3)])
def test_large_images_are_averaged_band_by_band_to_what_the_whole_would_give(
    mode: str, decode_size: int | None, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"transparency": 3} if mode == "P" else {}
    content = encoded(IN_EVERY_MODE[mode], "TIFF" if mode == "CMYK" else "PNG", **options)
    whole = decode(content, decode_size)
    assert whole.pixels.size == (300, 203)  # ordinary images are left as they are
    monkeypatch.setattr(rgb, "LARGE_PIXELS", 10_000)
    monkeypatch.setattr(rgb, "_BAND_PIXELS", 5_000)
    small = decode(content, decode_size)
    assert (small.width, small.height) == (300, 203)
    np.testing.assert_array_equal(pixels(small), np.asarray(whole.pixels.reduce(factor)))


def test_large_floats_are_averaged_before_they_are_stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.linspace(-5, 7, 60_000, dtype=np.float32).reshape(200, 300)
    content = encoded(Image.fromarray(ramp), "TIFF")
    whole = decode(content, 20).pixels
    monkeypatch.setattr(rgb, "LARGE_PIXELS", 10_000)
    small = decode(content, 20).pixels
    assert small.size == (60, 40)
    assert np.abs(np.asarray(small, np.int16) - np.asarray(whole.reduce(5))).max() <= 3


def progressive(scans: int, size: tuple[int, int] = (96, 64)) -> bytes:
    """A JPEG whose last scan comes again and again, and whose header promises a size."""
    content = encoded(picture(1), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    content = content[:-2] + content[last:-2] * (scans - content.count(b"\xff\xda")) + content[-2:]
    frame = content.index(b"\xff\xc2") + 5
    return content[:frame] + struct.pack(">HH", size[1], size[0]) + content[frame + 4 :]


def test_jpegs_that_go_over_many_pixels_many_times_are_refused() -> None:
    assert decode(progressive(200), 16).width == 96
    assert read_header(progressive(20, (16_000, 15_600))).width == 16_000
    with pytest.raises(ImageError, match="stored in more than 20 scans, the limit for a JPEG of its size"):
        decode(progressive(21, (16_000, 15_600)), 16)
    with_video = progressive(10, (16_000, 15_600)) + b"\xff\xda" * 1000
    assert read_header(with_video).width == 16_000


def test_formats_whose_codecs_take_more_memory_have_a_lower_limit() -> None:
    def webp_header(width: int, height: int) -> bytes:
        body = b"VP8L" + struct.pack("<I", 106) + b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + bytes(101)
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body

    assert read_header(webp_header(10_000, 10_000)).width == 10_000
    with pytest.raises(ImageError, match="larger than the limit of 100 megapixels"):
        decode(webp_header(10_001, 10_000), 16)


def test_first_of_several_frames_counts() -> None:
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    for format, options in (("GIF", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("MPO", {"quality": 95})):
        content = encoded(first, format, save_all=True, append_images=[second], **options)
        for decode_size in (None, 4):
            decoded = decode(content, decode_size)
            assert np.abs(pixels(decoded) - (255, 0, 0)).max() < 3
            assert decoded.format == ("JPEG" if format == "MPO" else format)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_broken_exif_costs_nothing() -> None:
    content = encoded(picture(4), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(content, None).width == 96


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(picture(5), "JPEG")[:-500], "cannot be decoded: image file is truncated"),
        (encoded(picture(5), "PNG")[:-500], "cannot be decoded"),
        (b"The quick brown fox\n", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (png_header(30_000, 30_000), "larger than the limit of 250 megapixels"),
        (png_header(16_000, 16_000), "larger than the limit of 250 megapixels"),
        (png_header(1, 65_000), "1 x 65000 pixels are more elongated than the limit of 100 to 1"),
    ],
)
@pytest.mark.parametrize("decode_size", [None, 16])
def test_bad_images_are_refused_with_a_plain_reason(content: bytes, reason: str, decode_size: int | None) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(content, decode_size)


def test_photograph_of_200_megapixels_is_allowed_without_a_warning() -> None:
    assert read_header(png_header(16_320, 12_240)).width == 16_320


def test_files_that_cannot_be_read_are_refused_with_a_plain_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    for name, reason in (
        ("nowhere.jpg", "cannot be read: No such file or directory"),
        ("folder.jpg", "cannot be read: Is a directory"),
        ("empty.jpg", "the file is empty"),
        ("caf\ufffd.jpg", "not valid UTF-8: rename the file"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_file(tmp_path / name)


def test_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.tif").open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse: takes no room
    with pytest.raises(ImageError, match="larger than the limit of 1 GiB"):
        decode_file(tmp_path / "huge.tif")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow remarks on what it skips
def test_damaged_files_give_an_image_or_a_reason_and_nothing_else() -> None:
    chance = random.Random(20261122)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    originals = [
        encoded(picture(6, (320, 200)), format, exif=exif)
        for format in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF")
    ] + [encoded(picture(6), "GIF"), encoded(picture(6), "BMP")]  # fmt: skip
    refused = 0
    for content in originals:
        for _ in range(40):
            damaged = bytearray(content)
            for _ in range(chance.randint(1, 8)):
                damaged[chance.randrange(min(len(damaged), chance.choice((64, 10**9))))] = chance.randrange(256)
            if chance.random() < 0.3:
                del damaged[chance.randrange(len(damaged)) :]
            try:
                assert decode(bytes(damaged), 64).pixels.mode == "RGB"
            except ImageError as exc:
                assert str(exc)
                refused += 1
    assert 0 < refused < 40 * len(originals)

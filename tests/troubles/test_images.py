"""What lies beside an image's pixels, or behind them, costs none of them; what misses pixels still fails."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from t2c_search.decoding.decode import decode, read_header
from t2c_search.decoding.metadata import measured_payload
from t2c_search.errors import ImageError
from tests.decoding.test_metadata import DATE_ORIGINAL, EXIF_IFD, GPS_IFD, LAT, LAT_REF, LON, LON_REF, jpeg
from tests.indexing.support import picture

PICTURE = picture(3, (160, 96))


def encoded(format: str, image: Image.Image = PICTURE, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def text(length: int, zip: bool) -> PngInfo:
    info = PngInfo()
    info.add_text("Comment", "a" * length, zip=zip)
    return info


def with_chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """A PNG with a chunk before its pixels."""
    content = encoded("PNG")
    place = content.index(b"IDAT") - 4
    told = zlib.crc32(kind + body) if checksum is None else checksum
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", told)
    return content[:place] + chunk + content[place:]


def with_segment(marker: int, body: bytes) -> bytes:
    """A JPEG with a segment behind its start."""
    content = encoded("JPEG")
    return content[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + content[2:]


def webp_with_metadata(body: bytes) -> bytes:
    content = encoded("WEBP", lossless=True, icc_profile=b"profile!" * 4)
    place = content.index(b"ICCP") + 4
    return content[:place] + body + content[place + len(body) :]


@pytest.mark.parametrize(
    "content",
    [
        encoded("PNG", pnginfo=text(3_000_000, zip=True)),
        encoded("PNG", icc_profile=bytes(3_000_000)),
        with_chunk(b"tEXt", b"Comment\0hello", checksum=1),
        with_chunk(b"iCCP", b"name\0\7not deflated"),
        with_chunk(b"gAMA", b"", checksum=0),
        with_chunk(b"pHYs", b"\0"),
        with_chunk(b"eXIf", b"junk", checksum=5),
        with_chunk(b"tEXt", b"Comment\0hello").replace(b"\0\0\0\x0dtEXt", b"\0\xff\0\x0dtEXt"),
        with_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        with_segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff" + bytes(range(200))),
        with_segment(0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff"),
        webp_with_metadata(b"\xff\xff\xff"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_lies_beside_the_pixels_costs_none(content: bytes) -> None:
    decoded = decode(content, None)
    difference = np.asarray(decoded.pixels, np.int16) - np.asarray(PICTURE, np.int16)
    assert np.abs(difference).mean() < 4
    assert (read_header(content).width, decoded.height) == (160, 96)


def test_transparency_and_orientation_outlive_a_damaged_text() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded("PNG", Image.new("P", (8, 4), 0), transparency=0, exif=exif, pnginfo=text(3_000_000, zip=True))
    decoded = decode(content, None)
    assert decoded.pixels.size == (4, 8)
    assert (np.asarray(decoded.pixels) == 255).all()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("decode_size", [None, 16])
def test_a_jpeg_may_lack_its_end_mark_and_not_a_pixel_more(progressive: bool, decode_size: int | None) -> None:
    content = encoded("JPEG", quality=90, progressive=progressive)
    whole = decode(content, decode_size).pixels.tobytes()
    for end in (content[:-1], content[:-2], content[:-2] + bytes(100)):
        assert decode(end, decode_size).pixels.tobytes() == whole
    for missing in (10, 30, 100, 500):
        with pytest.raises(ImageError, match="truncated"):
            decode(content[:-missing], decode_size)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_in_16_bits_is_as_bright_as_the_bits_that_it_uses(bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 4096).astype(np.uint16).reshape(64, 64)
    grey = np.asarray(decode(encoded("PNG", Image.fromarray(ramp)), None).pixels)[..., 0]
    np.testing.assert_array_equal(grey, ramp >> (bits - 8))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_was_not_measured_does_not_flatten_the_rest(value: float) -> None:
    ramp = np.linspace(1000, 1100, 4096, dtype=np.float32).reshape(64, 64)
    expected = np.asarray(decode(encoded("TIFF", Image.fromarray(ramp)), None).pixels, np.int16)
    ramp[5, 5] = value
    found = np.asarray(decode(encoded("TIFF", Image.fromarray(ramp)), None).pixels, np.int16)
    assert np.abs(found[5, 5] - (255 if value > 0 else 0)).max() <= 1
    found[5, 5] = expected[5, 5]
    assert np.abs(found - expected).max() <= 1


def test_gdals_value_for_no_data_counts_as_not_measured() -> None:
    ramp = np.linspace(1000, 1100, 4096, dtype=np.float32).reshape(64, 64)
    ramp[:8] = -9999
    content = encoded("TIFF", Image.fromarray(ramp), tiffinfo={42113: "-9999"})
    grey = np.asarray(decode(content, None).pixels)[..., 0]
    assert (grey[:8] == 0).all()
    assert grey[9:].mean() > 100


@pytest.mark.parametrize(
    ("stamp", "taken"),
    [
        ("2023:07:14 21:05:09", "2023-07-14T21:05:09"),
        ("2023-07-14 21:05:09", "2023-07-14T21:05:09"),
        ("2023/07/14 21:05", "2023-07-14T21:05:00"),
        ("2023-07-14T21:05:09.250", "2023-07-14T21:05:09"),
        ("2023-07-14T21:05:09Z", "2023-07-14T21:05:09+00:00"),
        ("2023:07:14 21:05:09+0200", "2023-07-14T21:05:09+02:00"),
        ("2023:07:14 09:05:09 PM", "2023-07-14T21:05:09"),
        ("2023:7:4", "2023-07-04T00:00:00"),
        ("    :  :     :  :  ", None),
        ("0000:00:00 00:00:00", None),
        ("2023:02:30 10:00:00", None),
        ("yesterday", None),
    ],
)
def test_dates_are_read_as_programs_write_them(stamp: str, taken: str | None) -> None:
    header = read_header(jpeg({}, {EXIF_IFD: {DATE_ORIGINAL: stamp}}))
    assert measured_payload(header, 1, "").get("taken") == taken


@pytest.mark.parametrize(
    ("south", "west", "sign"),
    [
        ("S", "W", -1),
        ("South", "west", -1),
        ("s\0", " W ", -1),
        ("N", "E", 1),
        ("north", "East", 1),
        ("", "E", None),
        ("N", "", None),
        ("?", "E", None),
    ],
)
def test_a_place_is_in_the_hemisphere_that_is_told_or_nowhere(south: str, west: str, sign: int | None) -> None:
    tags: dict[int, Any] = {LAT: (33.0, 30.0, 0.0), LON: (70.0, 15.0, 0.0)}
    tags |= {ref: text for ref, text in ((LAT_REF, south), (LON_REF, west)) if text}
    found = measured_payload(read_header(jpeg({}, {GPS_IFD: tags})), 1, "")
    assert found.get("gps") == (None if sign is None else {"lat": sign * 33.5, "lon": sign * 70.25})

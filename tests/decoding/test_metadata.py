import io
from typing import Any

import pytest
from blake3 import blake3
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from t2c_search.decoding.decode import read_header
from t2c_search.decoding.look import LOOK
from t2c_search.decoding.metadata import (
    EXPLAINED,
    MEASURED,
    PAYLOAD_INDEXES,
    content_hash,
    location_payload,
    measured_payload,
)
from t2c_search.types import Payload
from tests.indexing.support import picture

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
MAKE, MODEL, DATE, DATE_ORIGINAL, OFFSET_ORIGINAL = 0x010F, 0x0110, 0x0132, 0x9003, 0x9011
LAT_REF, LAT, LON_REF, LON = 1, 2, 3, 4


def jpeg(tags: dict[int, Any], ifds: dict[int, dict[int, Any]] | None = None) -> bytes:
    exif = Image.Exif()
    exif.update(tags)
    for ifd, values in (ifds or {}).items():
        exif.get_ifd(ifd).update(values)
    stream = io.BytesIO()
    picture(1).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def payload(content: bytes) -> Payload:
    measured = measured_payload(read_header(content), len(content), content_hash(content))
    return {**location_payload("/home/ann/Pictures/2023/a.jpg", 17), **measured}


def test_payload_says_what_the_file_is() -> None:
    content = jpeg({})
    assert payload(content) == {
        "path": "/home/ann/Pictures/2023/a.jpg",
        "name": "a.jpg",
        "folders": ["home", "ann", "Pictures", "2023"],
        "bytes": len(content),
        "mtime_ns": 17,
        "hash": blake3(content).hexdigest(),
        "format": "JPEG",
        "width": 96,
        "height": 64,
    }


def test_payload_says_when_where_and_with_what() -> None:
    content = jpeg(
        {MAKE: "NIKON CORPORATION\0junk", MODEL: "NIKON D90  ", DATE: "2024:12:31 00:00:00"},
        {
            EXIF_IFD: {DATE_ORIGINAL: "2023:07:14 21:05:09", OFFSET_ORIGINAL: "+02:00"},
            GPS_IFD: {LAT_REF: "S", LAT: (33.0, 51.0, 24.12), LON_REF: "E", LON: (151.0, 12.0, 54.0)},
        },
    )
    found = payload(content)
    assert found["taken"] == "2023-07-14T21:05:09+02:00"
    assert found["camera"] == "NIKON D90"
    assert found["gps"] == {"lat": pytest.approx(-33.8567, abs=1e-6), "lon": pytest.approx(151.215, abs=1e-6)}
    assert found.keys() == MEASURED - {LOOK, EXPLAINED}


@pytest.mark.parametrize(
    ("tags", "ifds", "expected"),
    [
        ({MAKE: "Apple", MODEL: "iPhone 12"}, {}, {"camera": "Apple iPhone 12"}),
        ({MODEL: "X100"}, {}, {"camera": "X100"}),
        ({}, {EXIF_IFD: {DATE_ORIGINAL: "2023:07:14 21:05:09"}}, {"taken": "2023-07-14T21:05:09"}),
        (
            {},
            {EXIF_IFD: {DATE_ORIGINAL: "2023:07:14 21:05:09", OFFSET_ORIGINAL: "?"}},
            {"taken": "2023-07-14T21:05:09"},
        ),
        ({MODEL: "X100"}, {EXIF_IFD: {DATE_ORIGINAL: "0000:00:00 00:00:00"}}, {"camera": "X100"}),
        ({}, {EXIF_IFD: {DATE_ORIGINAL: "    "}}, {}),
        ({}, {GPS_IFD: {LAT_REF: "N"}}, {}),
        ({}, {GPS_IFD: {LAT_REF: "N", LAT: (91.0, 0.0, 0.0), LON_REF: "E", LON: (1.0, 0.0, 0.0)}}, {}),
        ({}, {GPS_IFD: {LAT_REF: "N", LAT: (IFDRational(0, 0), 0.0, 0.0), LON_REF: "E", LON: (1.0, 0.0, 0.0)}}, {}),
    ],
)
def test_what_the_camera_got_wrong_is_absent(
    tags: dict[int, Any], ifds: dict[int, dict[int, Any]], expected: Payload
) -> None:
    found = payload(jpeg(tags, ifds))
    assert {field: found[field] for field in ("taken", "camera", "gps") if field in found} == expected


def test_every_index_is_on_a_field_that_images_have() -> None:
    assert PAYLOAD_INDEXES.keys() - MEASURED == {"captions"}

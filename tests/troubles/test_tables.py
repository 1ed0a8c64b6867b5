"""What is wrong with one value of a table costs that value, with a remark, and no image."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unicodedata import normalize

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2c_search.sources import ImageList, list_images
from t2c_search.sources.tables import annotations
from t2c_search.stores.columns import REQUEST_BYTES

LONG = "x" * (annotations.TEXT_BYTES + 1)
COUNT = 50


def fields(images: ImageList) -> dict[str, dict[str, Any]]:
    return {Path(item.path).name: dict(item.fields) for item in images}


def rows(bad: bytes, *, count: int = COUNT) -> bytes:
    """Rows of a table without its header, with a bad one in the middle."""
    good = [f"{number:03}.jpg,picture {number}\n".encode() for number in range(count)]
    return b"".join([*good[: count // 2], bad, *good[count // 2 :]])


@pytest.mark.parametrize(
    ("bad", "remark"),
    [
        (b"bad.jpg,caf\xe9\n", "field 'caption' left out where a text has bytes that are not UTF-8"),
        (b"bad.jpg," + LONG.encode() + b"\n", "field 'caption' left out where a text is longer than 128 KiB"),
        (b'bad.jpg,"' + b"y\n" * 90_000 + b'"\n', "field 'caption' left out where a text is longer than 128 KiB"),
        (b"bad.jpg,\0\n", ""),
    ],
)
def test_a_bad_cell_of_a_csv_costs_itself(tmp_path: Path, bad: bytes, remark: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"image,caption\n" + rows(bad))
    images = list_images([tmp_path / "a.csv"])
    found = fields(images)
    assert len(found) == COUNT + 1
    assert found.pop("bad.jpg") == ({} if remark else {"captions": ["\0"]})
    assert all(value == {"captions": [f"picture {int(name[:3])}"]} for name, value in found.items())
    assert [line.startswith(remark) for line in images.warnings] == [True] * bool(remark)


def test_a_table_in_utf_16_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image\tcaption\na.jpg\tzwölf\n", "utf-16")
    assert fields(list_images([tmp_path / "a.csv"])) == {"a.jpg": {"captions": ["zwölf"]}}


def test_a_name_with_an_invalid_byte_is_an_image_that_fails(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"image\na.jpg\ncaf\xe9.jpg\n")
    assert [Path(item.path).name for item in list_images([tmp_path / "a.csv"])] == ["a.jpg", "caf\ufffd.jpg"]


@pytest.mark.parametrize(
    "bad",
    [
        b'bad.jpg,"an open quote\n',
        b'bad.jpg,"one, two" and "three, "four\n',
        b'"bad.jpg,an open quote\n',
        b'bad.jpg,"5"" high, 3 wide\n',
    ],
)
@pytest.mark.parametrize("behind", [b"", b'c.jpg,"a whole, one"\nd.jpg,"two\nlines"\n'])
def test_an_unbalanced_quote_is_told_with_its_line_and_costs_no_row(tmp_path: Path, bad: bytes, behind: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(b"image,caption\n" + rows(bad) + behind)
    images = list_images([tmp_path / "a.csv"])
    found = fields(images)
    assert len(found) == COUNT + 1 + 2 * bool(behind)
    assert found["bad.jpg"]["captions"][0]
    assert found["049.jpg"] == {"captions": ["picture 49"]}
    if behind:
        assert (found["c.jpg"], found["d.jpg"]) == ({"captions": ["a whole, one"]}, {"captions": ["two\nlines"]})
    if b"three" not in bad:
        (line,) = images.warnings
        assert line.startswith("a quote that nothing closes is taken for a letter")
        assert line.endswith(f"a.csv, line {COUNT // 2 + 2})")


def test_rows_between_two_quotes_that_belong_to_two_rows_are_told(tmp_path: Path) -> None:
    """A valid table, by the letter."""
    (tmp_path / "a.csv").write_text('image,caption\na.jpg,x\nb.jpg,"tall\nc.jpg,short\nd.jpg,a plate of 10"\ne.jpg,y\n')
    images = list_images([tmp_path / "a.csv"])
    assert list(fields(images)) == ["a.jpg", "b.jpg", "e.jpg"]
    assert images.warnings[0].startswith("rows seem to lie within the quotes of a value")
    assert images.warnings[0].endswith("a.csv, line 3)")


def test_a_tsv_is_read_without_quoting(tmp_path: Path) -> None:
    lines = ["image\tcaption", 'a.jpg\t"Hello', "b.jpg\t12\" disk, 5'", 'c.jpg\t"all"', "d.jpg\tlast\ttabs"]
    (tmp_path / "a.tsv").write_text("\r\n".join(lines))
    images = list_images([tmp_path / "a.tsv"])
    assert {name: value["captions"] for name, value in fields(images).items()} == {
        "a.jpg": ['"Hello'], "b.jpg": ["12\" disk, 5'"], "c.jpg": ['"all"'], "d.jpg": ["last\ttabs"],
    }  # fmt: skip
    assert images.warnings == ()


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_bad_value_of_json_costs_itself(tmp_path: Path, name: str) -> None:
    good = [{"image": f"{number}.jpg", "rating": number} for number in range(COUNT)]
    bad = [b'{"image": "u.jpg", "note": "caf\xe9", "rating": 1}', b'{"image": "n.jpg", "note": ' + b"7" * 5000 + b"}"]
    every = [json.dumps(row).encode() for row in good] + [*bad, b'"no row"', b"3"]
    content = b"\n".join(every) if name.endswith("l") else b"[" + b",".join(every) + b"]"
    (tmp_path / name).write_bytes(content)
    images = list_images([tmp_path / name])
    found = fields(images)
    assert len(found) == COUNT + 2
    assert (found["u.jpg"], found["n.jpg"]["note"]) == ({"rating": 1}, "7" * 5000)
    assert any("that is not a JSON object passed over (2 times" in line for line in images.warnings)
    assert any("'note' left out where a text has bytes that are not UTF-8" in line for line in images.warnings)


@pytest.mark.parametrize("fault", ["", ",", ', {"image": "z.jpg", "no', ' {"image": "z.jpg"}]', ",]", "]]", ", nul]"])
def test_json_that_is_cut_or_broken_keeps_the_rows_before(tmp_path: Path, fault: str) -> None:
    rows = [{"image": f"{number}.jpg", "note": "[,]"} for number in range(COUNT)]
    (tmp_path / "a.json").write_text(" " + json.dumps(rows, indent=1)[:-2] + fault)
    images = list_images([tmp_path / "a.json"])
    assert len(fields(images)) == COUNT
    assert [
        line.startswith(f"JSON that is cut or broken: what stands behind its first {COUNT}") for line in images.warnings
    ]
    assert len(images.warnings) == 1


@pytest.mark.parametrize("bad", [None, 3, "x", [], [{}], {}, {"image_id": [1]}, {"image_id": None, "caption": "z"}])
@pytest.mark.parametrize("place", ["images", "annotations", "categories"])
def test_what_is_no_object_in_a_coco_file_costs_itself(tmp_path: Path, bad: object, place: str) -> None:
    content: dict[str, list[Any]] = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(COUNT)],
        "annotations": [{"id": n, "image_id": n, "caption": f"c{n}", "category_id": 7} for n in range(COUNT)],
        "categories": [{"id": 7, "name": "dog"}],
    }
    content[place].insert(0, bad)
    (tmp_path / "a.json").write_text(json.dumps(content))
    images = list_images([tmp_path / "a.json"])
    assert fields(images) == {f"{n}.jpg": {"captions": [f"c{n}"], "categories": ["dog"]} for n in range(COUNT)}
    assert bool(images.warnings) == (place != "categories" or not isinstance(bad, dict))


@pytest.mark.parametrize("bad", [4, "x", {"id": 1}])
def test_what_stands_in_the_place_of_cocos_annotations_costs_no_image(tmp_path: Path, bad: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": bad}))
    images = list_images([tmp_path / "a.json"])
    assert len(images) == 1
    assert len(images.warnings) == 1


def test_a_date_of_fiftyone_beyond_the_calendar_costs_itself(tmp_path: Path) -> None:
    dates: list[Any] = [10**15, 10**30, {"$numberLong": "-1000"}, {"$numberLong": "x"}, 0]
    samples = [{"filepath": f"{n}.jpg", "seen": {"$date": date}, "tags": ["t"]} for n, date in enumerate(dates)]
    (tmp_path / "samples.json").write_text(json.dumps({"samples": samples}))
    images = list_images([tmp_path / "samples.json"])
    found = fields(images)
    assert [found[f"{n}.jpg"].get("seen") for n in (0, 2, 3, 4)] == [
        None, "1969-12-31T23:59:59+00:00", None, datetime.fromtimestamp(0, UTC).isoformat()
    ]  # fmt: skip
    assert all(value["tags"] == ["t"] for value in found.values())
    assert sum("left out" in line for line in images.warnings) == 2


def test_a_value_of_parquet_that_python_cannot_express_costs_itself(tmp_path: Path) -> None:
    ends = np.array([0, 2, 4, 6], np.int32).tobytes()
    columns = {
        "image": ["0.jpg", "1.jpg", "2.jpg"],
        "far": pa.array([0, 2**62, 1], pa.timestamp("us")),
        "day": pa.array([0, 2**30, 1], pa.date32()),
        "zone": pa.array([0, 1, 2], pa.timestamp("s", "Mars/Phobos")),
        "fine": pa.array([1, 1_001, None], pa.timestamp("ns")),
        "text": pa.StringArray.from_buffers(3, pa.py_buffer(ends), pa.py_buffer(b"okc\xffok")),
        "meta": pa.array([{"at": 0}, {"at": 2**62}, None], pa.struct({"at": pa.timestamp("us")})),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    images = list_images([tmp_path / "a.parquet"])
    assert fields(images) == {
        "0.jpg": {
            "far": "1970-01-01T00:00:00", "day": "1970-01-01", "fine": "1970-01-01T00:00:00", "text": "ok",
            "meta": {"at": "1970-01-01T00:00:00"},
        },
        "1.jpg": {"fine": "1970-01-01T00:00:00.000001"},
        "2.jpg": {"far": "1970-01-01T00:00:00.000001", "day": "1970-01-02", "text": "ok"},
    }  # fmt: skip
    told = {line.split("'")[1] for line in images.warnings}
    assert told == {"far", "day", "zone", "text", "meta"}


def test_a_bad_line_of_a_sidecar_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\ntwo\n")
    (tmp_path / "a.json").write_bytes(b'{"ok": 1, "bad": "\xff"}')
    images = list_images([tmp_path])
    assert fields(images) == {"a.jpg": {"captions": ["one", "two"], "ok": 1}}
    assert len(images.warnings) == 2


def test_what_is_written_of_one_image_is_bounded(tmp_path: Path) -> None:
    """As a single caption of 100 MB, or a million of them, would stop a run into a server."""
    many = [f"{'many.jpg'},caption {number},7\n" for number in range(30_000)]
    large = [f"large.jpg,{'z' * 100_000}{number},7\n" for number in range(10)]
    (tmp_path / "a.csv").write_text(f"image,caption,rating\n{''.join(many + large)}huge.jpg,{'y' * (8 << 20)},7\n")
    images = list_images([tmp_path / "a.csv"])
    found = fields(images)
    assert found["many.jpg"]["captions"] == [f"caption {number}" for number in range(annotations.LIST_VALUES)]
    assert [text[-1] for text in found["large.jpg"]["captions"]] == ["0", "1"]
    assert found["huge.jpg"] == {"rating": "7"}
    for value in found.values():
        assert value["rating"] == "7"
        assert len(json.dumps(value)) <= annotations.PAYLOAD_BYTES < REQUEST_BYTES / 8
    assert len(images.warnings) == 2
    assert (
        "'captions' cut: of one image 1000 values of a list are kept, and 256 KiB in all (2 times" in images.warnings[1]
    )


def test_small_fields_are_kept_beside_large_ones(tmp_path: Path) -> None:
    row = {"image": "a.jpg", **{f"text{number}": "é" * 60_000 for number in range(4)}, "rating": 4, "empty": []}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    images = list_images([tmp_path / "a.jsonl"])
    assert fields(images)["a.jpg"].keys() == {"text0", "text1", "rating", "empty"}
    assert len(images.warnings) == 2


def test_several_names_in_one_row_are_several_images(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"image": ["a.jpg", "b.jpg", 3], "caption": "x"}\n{"image": []}\n')
    assert fields(list_images([tmp_path / "a.jsonl"])) == {name: {"captions": ["x"]} for name in ("a.jpg", "b.jpg")}


@pytest.mark.parametrize(("on_disk", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_spellings_of_unicode_meet(tmp_path: Path, on_disk: Any, written: Any) -> None:
    """Fields are NFC; paths are what the disk has."""
    name = normalize(on_disk, "Füße.jpg")
    (tmp_path / name).touch()
    row = {"image": normalize(written, "Füße.jpg"), normalize(written, "größe"): normalize(written, "Müll")}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), "utf-8")
    (tmp_path / "c.csv").write_text(normalize(written, "image,caption\nFüße.jpg,schön\n"), "utf-8")
    types: Any = {normalize("NFD", "größe"): "keyword"}
    for source in (tmp_path / "a.jsonl", tmp_path / name):
        (image,) = list_images([source], captions=tmp_path / "c.csv")
        assert image.path == f"{tmp_path}/{name}"
        assert image.fields["captions"] == [normalize("NFC", "schön")]
    (image,) = list_images([tmp_path / "a.jsonl"], types=types)
    assert image.fields == {normalize("NFC", "größe"): normalize("NFC", "Müll")}


@pytest.mark.parametrize(("on_disk", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("note", ["Füße.txt", "Füße.jpg.txt"])
def test_a_text_beside_an_image_describes_it_in_any_spelling(
    tmp_path: Path, on_disk: Any, written: Any, note: str
) -> None:
    files = {normalize(on_disk, "Füße.jpg"): b"", normalize(written, note): b"feet"}
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path / "F*"), "/feet/")
    sources = [tmp_path, tmp_path / normalize(on_disk, "Füße.jpg"), tmp_path / "a.tar", "memory://feet"]
    assert [dict(image.fields) for source in sources for image in list_images([source])] == [{"captions": ["feet"]}] * 4
    remote.rm("/feet", recursive=True)


def test_a_chosen_column_names_the_images_of_any_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,thumb\na.jpg,t/a.jpg\n")
    images = list_images([tmp_path / "a.csv"], image_column="Thumb")
    assert fields(images) == {"a.jpg": {"image": "a.jpg"}}
    assert images[0].path == f"{tmp_path}/t/a.jpg"
    assert (
        "lacks the image column 'none': it has 'image', 'thumb'"
        in list_images([tmp_path / "a.csv"], image_column="none").warnings[0]
    )

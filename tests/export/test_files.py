"""What is written can be read back by the format's own reader, complete and with the expression that made it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2c_search.errors import StoreUnavailableError, UsageError
from t2c_search.export.files import FOLDERS, FORMATS, export_hits, write_folder, write_json
from t2c_search.export.separated import read_columns
from t2c_search.export.sheet import write_sheet
from t2c_search.results import Contribution, Hit

EXPRESSION = '"a dog" AND NOT "a person"'


def hits(folder: Path, count: int = 5) -> list[Hit]:
    made = []
    for rank in range(1, count + 1):
        path = folder / f"Füße, {rank}.png"
        Image.new("RGB", (8, 6)).save(path)
        made.append(
            Hit(
                rank,
                f"00000000-0000-0000-0000-{rank:012d}",
                str(path),
                1.5 / rank,
                0.25,
                {"path": str(path), "width": 8, "height": 6, "captions": ['a "quoted" one\n']},
                (Contribution("a dog", 0.25, 2.0, True), Contribution("NOT a person", 0.1, -1.0, True)),
            )
        )
    return made


def written(name: str, found: list[Hit]) -> bytes:
    target = io.BytesIO()
    assert FORMATS[name](iter(found), EXPRESSION, target) == len(found)
    return target.getvalue()


def test_paths(tmp_path: Path) -> None:
    found = hits(tmp_path)
    assert written("paths", found).decode().splitlines() == [hit.path for hit in found]


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_tables_hold_every_field(tmp_path: Path, name: str) -> None:
    found = hits(tmp_path)
    content = written(name, found)
    if name == "jsonl":
        rows = [json.loads(line) for line in content.splitlines()]
    else:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    for hit, row in zip(found, rows, strict=True):
        nested = {key: row[key] if name == "jsonl" else json.loads(row[key]) for key in ("payload", "contributions")}
        assert (int(row["rank"]), row["id"], row["path"]) == (hit.rank, hit.id, hit.path)
        assert (float(row["score"]), float(row["cosine"])) == (hit.score, hit.cosine)
        assert nested["payload"] == hit.payload
        assert [part["constraint"] for part in nested["contributions"]] == ["a dog", "NOT a person"]
        assert row["expression"] == EXPRESSION


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_csv_has_a_column_for_each_field_of_any_hit(tmp_path: Path) -> None:
    first, second = hits(tmp_path, 2)
    odd = {
        "score": "user's",
        "meta": {"rating": 4, "by": {"who": 'a, "b"\n'}},
        "tags": ["x", "y"],
        "ok": True,
        "none": None,
    }
    second = replace(second, payload={**second.payload, **odd})
    content = written("csv", [first, second])
    header = content.decode().split("\r\n")[0].split(",")
    assert header == [
        "rank", "id", "path", "score", "cosine", "width", "height", "captions",
        "payload.score", "meta.rating", "meta.by.who", "tags", "ok", "none", "contributions", "expression",
    ]  # fmt: skip
    one, two = read_csv(content)
    assert (int(one["rank"]), one["id"], one["path"]) == (1, first.id, first.path)
    assert (float(one["score"]), float(one["cosine"]), one["width"]) == (first.score, first.cosine, "8")
    assert json.loads(one["captions"]) == first.payload["captions"]
    assert [part["constraint"] for part in json.loads(one["contributions"])] == ["a dog", "NOT a person"]
    assert one["expression"] == EXPRESSION
    assert {one[name] for name in header[8:14]} == {""}
    assert [two[name] for name in header[8:14]] == ["user's", "4", 'a, "b"\n', '["x", "y"]', "true", ""]


def test_columns_of_a_csv_can_be_chosen(tmp_path: Path) -> None:
    found, target = hits(tmp_path), tmp_path / "some.csv"
    export_hits(found, target, expression=EXPRESSION, format="csv", columns=["width", "path", "nowhere"])
    rows = read_csv(target.read_bytes())
    assert [row["path"] for row in rows] == [hit.path for hit in found]
    assert all(
        row.keys() == {"width", "path", "nowhere"} and row["width"] == "8" and not row["nowhere"] for row in rows
    )
    assert read_columns(" path, width") == ("path", "width")
    for wrong in ("", "path,", "path,path"):
        with pytest.raises(UsageError, match="name each once, with commas between"):
            read_columns(wrong)
    for format in ("jsonl", "links"):
        with pytest.raises(UsageError, match="columns can be chosen for the format csv"):
            export_hits(found, tmp_path / "x", expression=EXPRESSION, format=format, columns=["path"])


@pytest.mark.parametrize("count", [0, 5])
def test_coco_and_fiftyone_are_whole_documents(tmp_path: Path, count: int) -> None:
    found = hits(tmp_path, count)
    coco = json.loads(written("coco", found))
    assert coco["info"]["description"] == EXPRESSION
    assert [(image["file_name"], image["width"], image["height"]) for image in coco["images"]] == [
        (hit.path, 8, 6) for hit in found
    ]
    samples = json.loads(written("fiftyone", found))["samples"]
    assert [sample["filepath"] for sample in samples] == [hit.path for hit in found]
    assert all(sample["t2c"]["expression"] == EXPRESSION and sample["captions"] for sample in samples)


def test_writers_hold_no_more_than_a_group(tmp_path: Path) -> None:
    [template] = hits(tmp_path, 1)
    alive: list[int] = []

    class Counted(Hit):
        def __del__(self) -> None:
            alive[-1] -= 1

    def stream() -> Iterator[Hit]:
        alive.append(0)
        for rank in range(1, 10_001):
            alive[-1] += 1
            assert alive[-1] <= 8300  # two groups of parquet rows: the one written, the one being filled
            yield Counted(rank, template.id, template.path, 1.0, 0.1, {}, ())

    for write in (*FORMATS.values(), write_json):
        assert write(stream(), EXPRESSION, io.BytesIO()) == 10_000


@pytest.mark.parametrize("copy", [False, True])
def test_folder(tmp_path: Path, copy: bool) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    found = hits(source)
    assert write_folder(found, EXPRESSION, target, copy=copy) == 5
    images = sorted(target.glob("*.png"))
    assert [image.read_bytes() for image in images] == [Path(hit.path).read_bytes() for hit in found]
    assert all(image.is_symlink() != copy for image in images)
    assert len((target / "hits.jsonl").read_text().splitlines()) == 5
    with pytest.raises(UsageError, match="not empty"):
        write_folder(found, EXPRESSION, target, copy=copy)


def test_json_is_one_object_with_what_is_told_at_the_end(tmp_path: Path) -> None:
    for count in (0, 3):
        found, target = hits(tmp_path, count), io.BytesIO()
        assert write_json(iter(found), EXPRESSION, target, lambda: {"seconds": 1.5}) == count
        told = json.loads(target.getvalue())
        assert (told["expression"], told["count"], told["seconds"]) == (EXPRESSION, count, 1.5)
        assert [hit["path"] for hit in told["hits"]] == [hit.path for hit in found]


def test_hits_are_exported_in_every_format(tmp_path: Path) -> None:
    found = hits(tmp_path)
    for format in (*FORMATS, *FOLDERS):
        target = tmp_path / "out" / format
        assert export_hits(iter(found), str(target), expression=EXPRESSION, format=format).count == 5
        if format in FORMATS and format != "parquet":  # whose writer's version may change
            assert target.read_bytes() == written(format, found)
    with pytest.raises(UsageError, match="formats: paths, paths0, jsonl"):
        export_hits(found, tmp_path / "x", expression=EXPRESSION, format="xml")


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def stream(count: int) -> Iterator[Hit]:
        yield from found[:count]
        raise StoreUnavailableError("the server went away")  # an OSError too, but no fault of the file

    found = hits(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.csv").write_text("old")
    before = sorted(tmp_path.rglob("*"))
    for count in (0, 3):
        with pytest.raises(StoreUnavailableError, match="went away"):
            export_hits(stream(count), tmp_path / "old.csv", expression=EXPRESSION, format="csv")
        for folder in ("empty", "new"):
            with pytest.raises(StoreUnavailableError, match="went away"):
                export_hits(stream(count), tmp_path / folder, expression=EXPRESSION, format="copies")
    assert (tmp_path / "old.csv").read_text() == "old"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("format", FOLDERS)
def test_an_image_that_is_gone_is_reported_and_the_others_written(tmp_path: Path, format: str) -> None:
    found = hits(tmp_path)
    Path(found[1].path).unlink()
    done = export_hits(found, tmp_path / "out", expression=EXPRESSION, format=format)
    assert (done.count, [failure.path for failure in done.failures]) == (4, [found[1].path])
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    listed = [json.loads(line)["rank"] for line in (tmp_path / "out" / "hits.jsonl").read_text().splitlines()]
    assert listed == [1, 3, 4, 5]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", hits(tmp_path)
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        export_hits(found, pipe, expression=EXPRESSION)
        assert read.result().splitlines() == [hit.path for hit in found]
    assert pipe.is_fifo()


def test_fiftyone_samples_keep_their_tags_and_their_place(tmp_path: Path) -> None:
    (hit,) = hits(tmp_path, 1)
    odd = replace(hit, payload={**hit.payload, "tags": ["train"], "filepath": "/elsewhere"})
    (sample,) = json.loads(written("fiftyone", [odd]))["samples"]
    assert (sample["filepath"], sample["tags"]) == (hit.path, ["train", EXPRESSION])


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_the_longest_names_are_cut_in_a_folder_of_links(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".jpg")
    path.touch()
    (hit,) = hits(tmp_path, 1)
    write_folder([replace(hit, path=str(path))], EXPRESSION, tmp_path / "links", copy=False)
    (link,) = (tmp_path / "links").glob("*.jpg")
    assert link.readlink() == path and link.name.startswith("000001_üü")


def test_what_an_interrupted_export_left_is_not_mixed_with_another(tmp_path: Path) -> None:
    (tmp_path / "out" / ".0123456789abcdef.partial").mkdir(parents=True)
    with pytest.raises(UsageError, match="is not empty"):
        write_folder([], EXPRESSION, tmp_path / "out", copy=False)


@pytest.mark.parametrize(("suffix", "count"), [(".webp", 300), (".jpg", 900)])
def test_a_sheet_too_tall_for_its_format_is_refused(tmp_path: Path, suffix: str, count: int) -> None:
    (hit,) = hits(tmp_path, 1)
    with pytest.raises(UsageError, match=rf"pixels high, more than {suffix} holds .*: write a \.png"):
        write_sheet([hit] * count, "many", tmp_path / f"sheet{suffix}")
    assert not (tmp_path / f"sheet{suffix}").exists()

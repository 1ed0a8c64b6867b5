import csv
import io
import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2c_search.errors import UsageError
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.captions import CaptionTable
from t2c_search.sources.tables.sidecars import read_sidecars


@pytest.fixture
def remarks() -> Remarks:
    return Remarks()


def table(folder: Path, text: str, remarks: Remarks) -> CaptionTable:
    path = folder / "captions.csv"
    path.write_text(text, "utf-8")
    return CaptionTable(path, remarks)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_delimiter_is_read_off_the_header(tmp_path: Path, remarks: Remarks, delimiter: str) -> None:
    rows = [
        ["Image ", "split", "Caption"],
        ["a.jpg", "train", "a dog, wet; cold | or\tnot"],
        ["a.jpg", "train", "a cat"],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    captions = table(tmp_path, "\ufeff" + text.getvalue(), remarks)
    assert captions.fields("/photos/a.jpg") == {"captions": ["a dog, wet; cold | or\tnot", "a cat"], "split": "train"}


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=4),
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), min_size=1, unique=True),
        max_size=5,
    ),
    st.sampled_from(",\t;|"),
)
def test_any_caption_survives_the_table(
    tmp_path_factory: pytest.TempPathFactory, captions: dict[str, list[str]], delimiter: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["image", "caption"])
    writer.writerows((f"{name}.jpg", caption) for name, group in captions.items() for caption in group)
    read = table(tmp_path_factory.mktemp("table"), text.getvalue(), Remarks())
    for name, group in captions.items():
        wanted = list(dict.fromkeys(normalize("NFC", caption.strip()) for caption in group if caption.strip()))
        assert read.fields(f"/x/{name}.jpg").get("captions", []) == wanted


def test_columns_that_differ_between_rows_become_lists_and_empty_values_are_absent(
    tmp_path: Path, remarks: Remarks
) -> None:
    captions = table(tmp_path, "image,caption,who,when\na.jpg,one,Ann,\n\na.jpg,two,Bob,\na.jpg,,Ann,\n", remarks)
    assert captions.fields("/a.jpg") == {"captions": ["one", "two"], "who": ["Ann", "Bob"]}


def test_last_column_may_hold_unquoted_delimiters(tmp_path: Path, remarks: Remarks) -> None:
    captions = table(tmp_path, "image,split,caption\na.jpg,train,Two dogs, one wet, run .\n", remarks)
    assert captions.fields("/a.jpg") == {"captions": ["Two dogs, one wet, run ."], "split": "train"}


def test_images_match_by_absolute_path_by_the_last_parts_of_it_or_by_name(tmp_path: Path, remarks: Remarks) -> None:
    rows = ["/abs/1.jpg,absolute", "b/1.jpg,two parts", "1.jpg,name", "./c/2.jpg,dotted", "../up/3.jpg,up"]
    captions = table(tmp_path, "image,caption\n" + "\n".join(rows), remarks)
    up = (tmp_path.parent / "up" / "3.jpg").as_posix()
    found = {
        path: captions.fields(path)["captions"][0] for path in ("/abs/1.jpg", "/a/b/1.jpg", "/z/1.jpg", "/c/2.jpg", up)
    }
    assert list(found.values()) == ["absolute", "two parts", "name", "dotted", "up"]
    assert captions.fields("/d/2.jpg") == {}


@pytest.mark.parametrize("address", ["https://example.org/b/1.jpg", "s3://bucket//b/../1.jpg", "s3://b/a.tar::1.jpg"])
def test_images_match_by_their_address(tmp_path: Path, remarks: Remarks, address: str) -> None:
    captions = table(tmp_path, f"image,caption\n{address},x\n", remarks)
    assert captions.fields(address) == {"captions": ["x"]}
    captions.remark_unused()
    assert remarks.lines() == ()


def test_names_that_are_not_unicode_match_what_is_listed_of_them(tmp_path: Path, remarks: Remarks) -> None:
    (tmp_path / "captions.jsonl").write_text('{"image": "caf\\ud83d.jpg", "caption": "x"}\n')
    assert CaptionTable(tmp_path / "captions.jsonl", remarks).fields("/caf?.jpg") == {"captions": ["x"]}


def test_images_without_a_file_are_counted(tmp_path: Path, remarks: Remarks) -> None:
    captions = table(tmp_path, "image,caption\na.jpg,x\nb.jpg,y\nc.jpg,z\n,w\n", remarks)
    captions.fields("/photos/b.jpg")
    captions.remark_unused()
    assert remarks.lines() == (
        f"row without an image passed over ({tmp_path / 'captions.csv'})",
        "image in captions.csv that is not among the images given (2 times, first a.jpg)",
    )


def test_columns_that_the_image_itself_gives_are_remarked(tmp_path: Path, remarks: Remarks) -> None:
    captions = table(tmp_path, "image,caption,width\na.jpg,x,1\nb.jpg,y,1\n", remarks)
    assert captions.fields("/a.jpg") == {"captions": ["x"]}
    assert "field 'width' passed over" in remarks.lines()[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file;text\na.jpg;x\n", "lacks the column 'image': it has 'file', 'text'"),
        (b"image,text\na.jpg,x\n", "lacks the column 'caption': it has 'image', 'text'"),
        (b"", "lacks the column 'image': it has none"),
    ],
)
def test_table_that_cannot_be_used_is_a_usage_error(
    tmp_path: Path, remarks: Remarks, content: bytes, message: str
) -> None:
    (tmp_path / "captions.csv").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        CaptionTable(tmp_path / "captions.csv", remarks)


def test_table_that_is_not_there_is_a_usage_error(tmp_path: Path, remarks: Remarks) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        CaptionTable(tmp_path / "captions.csv", remarks)


def sidecars(folder: Path, remarks: Remarks, *, text: str | None = None, record: str | None = None) -> dict[str, Any]:
    names = []
    for name, content in (("photo.txt", text), ("photo.json", record)):
        if content is not None:
            (folder / name).write_text(content, "utf-8")
            names.append(name)
    return read_sidecars(folder / "photo.jpg", names, remarks)


def test_sidecar_captions_come_from_both_files_each_once(tmp_path: Path, remarks: Remarks) -> None:
    fields = sidecars(
        tmp_path,
        remarks,
        text="a dog\n\n  a cat \n",
        record='{"caption": "a cat", "captions": ["a cow", 7], "tags": ["x"]}',
    )
    assert fields == {"captions": ["a dog", "a cat", "a cow"], "tags": ["x"]}
    assert remarks.lines() == ()


def test_sidecar_fields_that_stores_cannot_hold_are_made_holdable(tmp_path: Path, remarks: Remarks) -> None:
    record = (
        '{"big": 18446744073709551616, "nan": NaN, "null": null, "half": "\\ud800!", "deep": {"a": [1, null]}, "": 1}'
    )
    assert sidecars(tmp_path, remarks, record=record) == {
        "big": "18446744073709551616", "half": "?!", "deep": {"a": [1]}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("[1]", "not a JSON object"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        (json.dumps({"x": "y" * (256 << 10)}), "larger than 256 KiB"),
        ('{"width": 3, "ok": 1}', "field 'width' passed over"),
        ('{"gps.lat": 3, "ok": 1}', "field 'gps.lat' passed over: the image file itself gives it"),
        ('{"captions.en": "x", "ok": 1}', "field 'captions.en' passed over: 'captions' are texts"),
        ('{"' + "a." * 900 + 'a": 1, "ok": 1}', "nested more than 32 levels"),
        ('{"x": {"' + "a." * 900 + 'a": 1}, "ok": 1}', "nested more than 32 levels"),
        ('{"x": ' + "[" * 600 + "]" * 600 + ', "ok": 1}', "field 'x' passed over: it is nested more than 32 levels"),
        ('{"x": ' + '{"a": ' * 900 + "1" + "}" * 900 + ', "ok": 1}', "nested more than 32 levels"),
    ],
)
def test_sidecars_that_cannot_be_used_are_remarked(tmp_path: Path, remarks: Remarks, record: str, reason: str) -> None:
    fields = sidecars(tmp_path, remarks, record=record)
    assert fields == ({"ok": 1} if "ok" in record else {})
    (line,) = remarks.lines()
    assert reason in line
    assert "photo.json" in line

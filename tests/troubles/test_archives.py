"""No member of an archive is lost in silence, and what belongs together in it comes together."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from t2c_search.sources import ImageList, list_images, read_image
from t2c_search.sources.remarks import Remark
from tests.indexing.support import picture


def jpeg(seed: int) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "JPEG")
    return stream.getvalue()


def add(
    archive: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size = kind, link, len(content)
    archive.addfile(header, io.BytesIO(content))


def names(images: ImageList) -> list[str]:
    return [item.path.rpartition("::")[2] for item in images]


def kinds(images: ImageList) -> dict[str, int]:
    return {remark.kind: remark.count for remark in images.remarks}


def test_links_in_a_tar_are_the_files_that_they_lead_to(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "early.jpg", kind=tarfile.SYMTYPE, link="set/one.jpg")
        add(archive, "set/one.jpg", jpeg(1))
        add(archive, "set/hard.jpg", kind=tarfile.LNKTYPE, link="set/one.jpg")
        add(archive, "set/soft.jpg", kind=tarfile.SYMTYPE, link="../set/./hard.jpg")
        add(archive, "set/blob.jpg", kind=tarfile.SYMTYPE, link="data")
        add(archive, "set/data", jpeg(2))
        add(archive, "gone.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add(archive, "round.jpg", kind=tarfile.SYMTYPE, link="round.jpg")
        add(archive, "pipe.jpg", kind=tarfile.FIFOTYPE)
        add(archive, "disk.jpg", kind=tarfile.BLKTYPE)
    images = list_images([tmp_path / "a.tar"])
    assert names(images) == ["set/one.jpg", "early.jpg", "set/hard.jpg", "set/soft.jpg", "set/blob.jpg"]
    assert [read_image(item.path) for item in images] == [jpeg(1)] * 4 + [jpeg(2)]
    assert {item.size for item in images[:4]} == {len(jpeg(1))}
    assert sorted(kinds(images).values()) == [1, 2, 2]  # set/data; the links elsewhere; the pipe and the disk


def sparse_tar(content: bytes, hole: int) -> bytes:
    """A tar of the old GNU kind with a file of which the middle is a hole."""
    half = len(content) // 2
    header = bytearray(tarfile.TarInfo("hole.bmp").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[124:136] = f"{len(content):011o}\0".encode()
    for number, (place, size) in enumerate(((0, half), (half + hole, len(content) - half))):
        at = 386 + 24 * number
        header[at : at + 24] = f"{place:011o}\0{size:011o}\0".encode()
    header[483:495] = f"{len(content) + hole:011o}\0".encode()
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header[:512]):06o}\0 ".encode()
    return bytes(header) + content + bytes(-len(content) % 512) + bytes(1024)


def test_a_sparse_member_is_read_with_its_holes(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3000)
    (tmp_path / "a.tar").write_bytes(sparse_tar(content, 5000))
    (item,) = list_images([tmp_path / "a.tar"])
    assert item.size == 8000
    assert read_image(item.path) == content[:1500] + bytes(5000) + content[1500:]


def test_tars_in_a_row_are_one(tmp_path: Path) -> None:
    parts = []
    for number in range(3):
        with tarfile.open(tmp_path / "part", "w") as archive:
            add(archive, f"{number}.jpg", jpeg(number))
        parts.append((tmp_path / "part").read_bytes())
    (tmp_path / "a.tar").write_bytes(b"".join(parts))
    images = list_images([tmp_path / "a.tar"])
    assert names(images) == ["0.jpg", "1.jpg", "2.jpg"]
    assert [read_image(item.path) for item in images] == [jpeg(0), jpeg(1), jpeg(2)]
    assert images.remarks == ()
    (tmp_path / "b.tar").write_bytes(parts[0] + b"something else" + bytes(498))
    (remark,) = list_images([tmp_path / "b.tar"]).remarks
    assert f"has something behind its end, at byte {len(parts[0])}" in remark.kind


def test_a_later_member_of_the_same_name_counts_and_the_former_is_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "a.jpg", jpeg(1))
        add(archive, "./a.jpg", jpeg(2))
    images = list_images([tmp_path / "a.tar"])
    assert [read_image(item.path) for item in images] == [jpeg(2)]
    assert images.remarks == (
        Remark("passed over: a later member of the archive has the same name", 1, f"{tmp_path}/a.tar::a.jpg"),
    )


def test_links_in_a_zip_and_a_zip_before_another_are_told(tmp_path: Path) -> None:
    for number in range(2):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            archive.writestr(f"{number}.jpg", jpeg(number))
            link = zipfile.ZipInfo("link.jpg")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, f"{number}.jpg")
    (tmp_path / "both.zip").write_bytes((tmp_path / "0.zip").read_bytes() + (tmp_path / "1.zip").read_bytes())
    images = list_images([tmp_path / "both.zip"])
    assert names(images) == ["1.jpg"]
    assert kinds(images) == {
        "archive in front of another is not listed: split the file": 1,
        "passed over: it is a link": 1,
    }


def shard(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            for name, content in members.items():
                add(archive, name, content)
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_a_key_ends_at_the_first_dot(tmp_path: Path, name: str) -> None:
    images = list_images(
        shard(
            tmp_path / name,
            {
                "x/0001.left.png": b"1",
                "x/0001.right.png": b"2",
                "x/0001.txt": b"a pair",
                "x/0001.meta.json": b'{"rating": 4}',
                "x/0001.cls": b"7",
                "x/0002.left.png": b"3",
                "y/0001.left.png": b"4",
                "2023.05.01.jpg": b"5",
                "2023.05.02.jpg": b"6",
                "2023.05.02.txt": b"the second",
                "0003.txt": b"of nothing",
            },
        )
    )
    assert {item.path.rpartition("::")[2]: dict(item.fields) for item in images} == {
        "x/0001.left.png": {"captions": ["a pair"], "rating": 4},
        "x/0001.right.png": {"captions": ["a pair"], "rating": 4},
        "x/0002.left.png": {},
        "y/0001.left.png": {},
        "2023.05.01.jpg": {},
        "2023.05.02.jpg": {"captions": ["the second"]},
    }
    assert kinds(images) == {"passed over: its ending is none of an image's": 2}


LONG = "a_very_long_name_of_a_photograph_from_a_telephone.jpg"
TAKEOUT = {
    "IMG_1.jpg": "IMG_1.jpg.json",
    "IMG_2.jpg": "IMG_2.jpg.supplemental-metadata.json",
    "IMG_3(1).jpg": "IMG_3.jpg(1).json",
    "IMG_4(2).jpg": "IMG_4.jpg.supplemental-metadata(2).json",
    "a_photograph_with_quite_a_name.jpg": "a_photograph_with_quite_a_name.jpg.supplementa.json",
    LONG: LONG[:46] + ".json",
}


@pytest.mark.parametrize("place", ["folder", "a.tar", "a.zip", "memory"])
def test_what_google_says_of_a_photograph_is_read(tmp_path: Path, place: str) -> None:
    import fsspec

    members = dict.fromkeys(TAKEOUT, b"x") | {
        beside: json.dumps({"title": name}).encode() for name, beside in TAKEOUT.items()
    }
    if place in ("a.tar", "a.zip"):
        source = str(shard(tmp_path / place, members))
    else:
        source = str(tmp_path / "photos") if place == "folder" else "memory://takeout/photos"
        for name, content in members.items():
            with fsspec.open(f"{source}/{name}", "wb", auto_mkdir=True) as file:
                file.write(content)
    images = list_images([source])
    assert {item.path.rpartition("/")[2].rpartition("::")[2]: item.fields["title"] for item in images} == {
        name: name for name in TAKEOUT
    }
    assert images.remarks == ()


def test_a_header_of_a_tar_in_base_256_is_no_trouble(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        header = tarfile.TarInfo("a.jpg")
        header.size, header.mtime = len(jpeg(1)), 2**40
        archive.addfile(header, io.BytesIO(jpeg(1)))
    content = (tmp_path / "a.tar").read_bytes()
    assert struct.unpack(">B", content[136:137]) == (0x80,)
    assert names(list_images([tmp_path / "a.tar"])) == ["a.jpg"]

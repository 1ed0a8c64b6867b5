"""Five hundred files and members that nobody should have, made from a seed, with a list of them all."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from t2c_search.sources.containers.tar import LINK_ELSEWHERE
from t2c_search.sources.passed_over import EXCLUDED, HIDDEN, NO_FILE, NO_IMAGE
from tests.decoding.test_fuzz import MUTATIONS, SUFFIXES, whole_files
from tests.indexing.support import picture

OF_ITS_OWN = "a remark that names it"
NAMES = (
    "a\nb.jpg", "-rf.jpg", "--help.jpg", "'; rm -rf ~.jpg", '"quoted".jpg', "*.jpg", "{a,b}.jpg", "[x].jpg", "%s%n.jpg",
    "a.tar::b.jpg", "x::y.jpg", "\u202egpj.exe.jpg", "\x1b[31mred.jpg", "\x9b2J.jpg", "cafe\u0301.jpg", "caf\u00e9.jpg",
    " blank .jpg", "tab\t.jpg", "back\\slash.jpg", "n" * 250 + ".jpg", "~root.jpg", "CON.jpg", "$(id).jpg", "a.jpg.jpg",
    "\U0001f4a9.jpg",
    "http:.jpg", "..jpg.jpg", "...jpg", "\u2028line.jpg", "\ufeffbom.jpg",
)  # fmt: skip
"""Names of files; those that begin with a dot are hidden."""
MEMBERS = (
    "../../outside.jpg", "/tmp/outside.jpg", "../outside.txt", "C:\\outside.jpg", "a/../../outside.jpg", "..\\outside.jpg",
    "\x1b]0;owned\x07.jpg", "a//b.jpg", "deep/" * 60 + "x.jpg", "::.jpg", "x::y::z.jpg", "name\nwith line.jpg", ".hidden/x.jpg",
    "__MACOSX/._x.jpg", "inner.zip", "movie.jxl", "vector.svg", "page.pdf", "noending", "@eaDir/t.jpg", "small_thumb.jpg",
)  # fmt: skip


@dataclass
class World:
    """The sources to index, and of each file and member its path and the remark that counts it; None where it is an image."""

    folder: Path
    sources: list[str] = field(default_factory=list)
    entries: dict[str, str | None] = field(default_factory=dict)

    def add(self, path: str | Path, kind: str | None = None) -> None:
        """Note a file or member."""
        assert str(path) not in self.entries, path
        self.entries[str(path)] = kind


def kind_of(name: str) -> str | None:
    """Return what becomes of a member, by its name."""
    parts = name.split("/")
    if any((part.startswith(".") and part != "..") or part in ("@eaDir", "__MACOSX") for part in parts):
        return HIDDEN
    if parts[-1].endswith("_thumb.jpg"):
        return EXCLUDED
    suffix = PurePosixPath(parts[-1]).suffix.lower()
    if suffix in (".jxl", ".svg", ".pdf"):
        return f"passed over: {suffix} files cannot be read; convert them, to JPEG or PNG"
    if suffix == ".zip":
        return "archive in an archive is not opened: unpack the outer one"
    return None if suffix == ".jpg" else NO_IMAGE


def good(seed: int) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "JPEG")
    return stream.getvalue()


def make(folder: Path, seed: int) -> World:
    """Make them in a folder, which is the first of the sources."""
    dice, world = random.Random(seed), World(folder)
    photos = folder / "photos"
    photos.mkdir()
    world.sources.append(str(photos))
    damaged_files(world, photos, dice)
    odd_files(world, photos)
    for number in range(6):
        archive(world, folder / f"{number}.{'tar' if number % 2 else 'zip'}", dice)
    links_and_devices(world, folder / "links.tar")
    broken_containers(world, folder, dice)
    tables(world, folder, dice)
    return world


def damaged_files(world: World, photos: Path, dice: random.Random) -> None:
    whole = whole_files()
    for number in range(220):
        mutate, name = MUTATIONS[number % len(MUTATIONS)], dice.choice(list(SUFFIXES))
        path = photos / f"{number:03d}-{mutate.__name__}.{SUFFIXES[name]}"
        path.write_bytes(mutate(dice, name, whole))
        world.add(path)


def odd_files(world: World, photos: Path) -> None:
    for number, name in enumerate(NAMES):
        (photos / name).write_bytes(good(number))
        world.add(photos / name, HIDDEN if name.startswith(".") else None)
    for name, kind in (
        ("raw.CR2", "passed over: .cr2 files cannot be read; convert them, to JPEG or PNG"),
        ("drawing.svg", "passed over: .svg files cannot be read; convert them, to JPEG or PNG"),
        ("notes.txt", NO_IMAGE), ("code.py", NO_IMAGE), ("README", NO_IMAGE), ("rows.csv", NO_IMAGE),
        ("x_thumb.jpg", EXCLUDED), (".DS_Store", HIDDEN), ("._a.jpg", HIDDEN),
        ("shard.tar", ".tar file in a folder is not opened: name it, or a pattern such as '*.tar'"),
        ("film.mp4", ".mp4 file in a folder is not opened: name it, or a pattern such as '*.mp4'"),
        ("empty.jpg", None), ("page.jpg", None),
    ):  # fmt: skip
        (photos / name).write_bytes(b"" if name == "empty.jpg" else b"<html>")
        world.add(photos / name, kind)
    for name in ("@eaDir", ".thumbnails", "$RECYCLE.BIN"):
        (photos / name).mkdir()
        (photos / name / "t.jpg").write_bytes(good(1))
        world.add(photos / name, HIDDEN)
    os.mkfifo(photos / "pipe.jpg")
    world.add(photos / "pipe.jpg", NO_FILE)
    for name, target in (("dangling.jpg", "nowhere.jpg"), ("self.jpg", "self.jpg"), ("passwd.jpg", "/etc/passwd")):
        (photos / name).symlink_to(target)
        world.add(photos / name)
    (photos / "loop").symlink_to(photos)
    world.add(photos / "loop", "folder that is listed already, under another name")
    (photos / "late.jpg").write_bytes(good(77))
    os.utime(photos / "late.jpg", (10_413_792_000, 10_413_792_000))  # the year 2300
    world.add(photos / "late.jpg")
    for name, content in (("a", b"{"), ("b", b"[1]"), ("c", b"\xff\xfe")):
        (photos / f"described-{name}.jpg").write_bytes(good(80 + ord(name)))
        (photos / f"described-{name}.json").write_bytes(content)
        world.add(photos / f"described-{name}.jpg")
        world.add(photos / f"described-{name}.json", OF_ITS_OWN)


def archive(world: World, path: Path, dice: random.Random) -> None:
    """An archive of members with names that lead out of it, and damaged ones."""
    whole = whole_files()
    contents = {name: good(dice.randrange(1000)) for name in MEMBERS}
    for number in range(16):
        mutate = dice.choice(MUTATIONS)
        contents[f"set/{number:02d}.jpg"] = mutate(dice, "JPEG", whole)
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            for name, content in contents.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    else:
        contents["set/bomb.jpg"] = bytes(20_000_000)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in contents.items():
                zipped.writestr(name, content)
    world.sources.append(str(path))
    for name in contents:
        shown = name.replace("//", "/")
        world.add(f"{path}::{shown}", kind_of(shown))


def links_and_devices(world: World, path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name, kind, link, remark in (
            ("one.jpg", tarfile.REGTYPE, "", None),
            ("hard.jpg", tarfile.LNKTYPE, "one.jpg", None),
            ("soft.jpg", tarfile.SYMTYPE, "./one.jpg", None),
            ("passwd.jpg", tarfile.SYMTYPE, "/etc/passwd", LINK_ELSEWHERE),
            ("up.jpg", tarfile.SYMTYPE, "../../../etc/passwd", LINK_ELSEWHERE),
            ("round.jpg", tarfile.SYMTYPE, "round.jpg", LINK_ELSEWHERE),
            ("disk.jpg", tarfile.BLKTYPE, "", NO_FILE),
            ("terminal.jpg", tarfile.CHRTYPE, "", NO_FILE),
            ("pipe.jpg", tarfile.FIFOTYPE, "", NO_FILE),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, link
            content = good(5) if kind == tarfile.REGTYPE else b""
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
            world.add(f"{path}::{name}", remark)
    world.sources.append(str(path))


def broken_containers(world: World, folder: Path, dice: random.Random) -> None:
    for number, suffix in enumerate((".tar", ".zip", ".parquet", ".mp4", ".csv", ".json", ".tar.gz", ".npy") * 3):
        path = folder / f"broken-{number:02d}{suffix}"
        junk = b"\xff" + dice.randbytes(dice.choice((10, 600, 5000)))
        path.write_bytes(b'{"no": "table"}' if suffix in (".csv", ".json") else junk)
        world.sources.append(str(path))
        world.add(path, OF_ITS_OWN)


def tables(world: World, folder: Path, dice: random.Random) -> None:
    addresses = [
        "http://127.0.0.1:1/a.jpg", "http://localhost:1/a.jpg", "http://169.254.169.254/latest/meta-data",
        "http://[::1]:1/a.jpg",
        "http://10.0.0.1/a.jpg", "ftp://192.168.0.1/a.jpg", "nonsense://x/a.jpg", "http://", "https://[",
        "/etc/passwd", "/dev/zero",
        "/dev/stdin", "/proc/self/mem", "/nowhere/a.jpg", str(folder), f"{folder}/0.zip::nothing.jpg", "/x\x00y.jpg",
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps({"url": address}) + "\n" for address in addresses))
    for address in addresses:
        world.add(address)
    contents = [good(900), b"", b"junk", dice.randbytes(1000), None]
    pq.write_table(pa.table({"image": pa.array(contents, pa.binary())}), folder / "rows.parquet")
    for number in range(len(contents)):
        world.add(f"{folder}/rows.parquet::image/{number}")
    world.sources += [f"{folder}/rows.jsonl", f"{folder}/rows.parquet"]

"""A video has the frames that are in it, whatever its header says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from t2c_search.errors import ImageError
from t2c_search.sources import list_images, read_image
from tests.sources.test_video import save_video

av = pytest.importorskip("av", reason="PyAV is not installed: pip install t2c-search[video]")


def put(content: bytes, box: bytes, offset: int, number: bytes) -> bytes:
    place = content.index(box) + offset
    return content[:place] + number + content[place + len(number) :]


def mp4(path: Path) -> bytes:
    return save_video(path, 50).read_bytes()


def faststart(path: Path) -> bytes:
    """A video whose index lies before its pictures."""
    save_video(path.with_suffix(".plain.mp4"), 50)
    with (
        av.open(str(path.with_suffix(".plain.mp4"))) as plain,
        av.open(str(path), "w", options={"movflags": "faststart"}) as output,
    ):
        stream = output.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return path.read_bytes()


def hostile(path: Path, kind: str) -> None:
    if kind == "each frame for weeks":  # stts: how long each shows
        content = put(mp4(path), b"stts", 16, struct.pack(">I", 0x7FFFFFF0))
        content = put(content, b"elst", 12, struct.pack(">I", 0x7FFFFFF0))
    elif kind == "a thousand million frames":
        content = put(mp4(path), b"stts", 12, struct.pack(">I", 1_000_000_000))
    elif kind == "years long":
        content = put(mp4(path), b"mdhd", 20, b"\xff\xff\xff\xf0")
        content = put(put(content, b"mvhd", 20, b"\xff\xff\xff\xf0"), b"elst", 12, b"\x7f\xff\xff\xf0")
    elif kind == "matroska, years long":
        content = save_video(path.with_suffix(".mkv"), 50).read_bytes()
        content = put(content, b"\x44\x89", 3, struct.pack(">d", 1e15))
    else:
        content = faststart(path)
        content = content[: len(content) * 2 // 3]
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind", ["each frame for weeks", "a thousand million frames", "years long", "matroska, years long", "cut off"]
)
@pytest.mark.timeout(60)
def test_frames_past_the_true_end_do_not_exist(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    hostile(path, kind)
    images = list_images([path], every=0.25)
    assert 0 < len(images) <= 50
    frames = {read_image(item.path) for item in images}
    assert len(frames) == len(images)
    with pytest.raises(ImageError, match="no frame|cannot be read"):
        read_image(f"{path}::1000000000.000.png")

"""Video files: one frame every few seconds, each an image of its own; needs PyAV (the extra ``video``)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from t2c_search.errors import ImageError, UsageError
from t2c_search.indexing.metadata import MEMBER
from t2c_search.indexing.places import UNKNOWN_SIZE, Stat, open_binary, said_of, stat
from t2c_search.indexing.sources.listed import Listed, Listing

if TYPE_CHECKING:
    from PIL import Image

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")
_MICROSECONDS = 1e6  # in which a container tells its duration
_PNG = ".png"


def list_video(address: str, listing: Listing) -> Iterator[Listed]:
    """List a frame every ``listing.every`` seconds, from 0, as members ``SECONDS.png``.

    Raises UsageError when PyAV is missing, or when the file is no video.
    """
    seconds = _duration(address)
    mtime_ns = (stat(address) or Stat(0, 0)).mtime_ns
    for number in count():
        moment = number * listing.every
        if number and moment >= seconds:
            return
        fields = {"video": address, "seconds": round(moment, 3)}
        yield Listed(f"{address}{MEMBER}{moment:.3f}{_PNG}", UNKNOWN_SIZE, mtime_ns, fields)


def read_frame(address: str, member: str) -> bytes:
    """Return the frame that shows at ``SECONDS.png``, upright, as PNG. Raises ImageError when it cannot be decoded."""
    with said_of("the frame", ImageError), open_binary(address) as file, _av().open(file) as container:
        picture = _frame_at(container, float(member.removesuffix(_PNG)))
        content = io.BytesIO()
        picture.save(content, "PNG", compress_level=1)  # lossless; the time goes into decoding the video
        return content.getvalue()


def _frame_at(container: Any, seconds: float) -> Image.Image:
    stream = container.streams.video[0]
    start = (stream.start_time or 0) * stream.time_base
    container.seek(round((seconds + float(start)) / stream.time_base), stream=stream)
    frame = None
    for frame in container.decode(stream):
        shown_until = frame.time - float(start) + float((frame.duration or 0) * frame.time_base)
        if shown_until > seconds:
            break
    if frame is None:
        raise ImageError(f"the video has no frame at {seconds} s")
    picture: Image.Image = frame.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _duration(address: str) -> float:
    """Return a video's length in seconds."""
    with said_of(f"video {address!r}", UsageError), open_binary(address) as file, _av().open(file) as container:
        if not container.streams.video:
            raise UsageError(f"{address!r} has no video in it")
        stream = container.streams.video[0]
        if stream.duration:
            return float(stream.duration * stream.time_base)
        return float((container.duration or 0) / _MICROSECONDS)


def _av() -> Any:
    try:
        import av
    except ImportError as exc:
        raise UsageError("video files need PyAV: pip install t2c-search[video]") from exc
    return av

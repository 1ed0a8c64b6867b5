"""Video files: one frame every few seconds, each an image of its own; needs PyAV (the extra ``video``)."""

from __future__ import annotations

import io
import math
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import ImageError, UsageError
from t2c_search.sources.addresses import UNKNOWN_SIZE, Stat, open_binary, said_of, stat, version
from t2c_search.sources.containers.cache import Cache
from t2c_search.sources.containers.turns import Turns
from t2c_search.sources.inputs import ImageInput
from t2c_search.sources.lister import Listing

if TYPE_CHECKING:
    from PIL import Image

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")
_MICROSECONDS = 1e6  # in which a container tells its duration
_PNG = ".png"
_FEWEST_BYTES = 100  # of a second of video; of pictures that hardly ever change, encoders make a few thousand
_SHORT = 0.04  # seconds
_LATE = 0.002  # seconds: names of frames have thousandths
_OPEN = 2  # videos being decoded: threads are on both sides of a border
_NEAR = (
    10.0  # seconds that are decoded to go on; key frames are hardly ever further apart, so that a jump costs as much
)


def list_video(address: str, listing: Listing) -> Iterator[ImageInput]:
    """List a frame every ``listing.every`` seconds, from 0 to the last one's end, as members ``SECONDS.png``.

    Raises UsageError when PyAV is missing, or when the file is no video.
    """
    found = stat(address) or Stat(0, 0)
    for moment in _moments(address, listing.every, found.size):
        fields = {"video": address, "seconds": round(moment, 3)}
        yield ImageInput(f"{address}{MEMBER}{moment:.3f}{_PNG}", UNKNOWN_SIZE, found.mtime_ns, fields)


def read_frame(address: str, member: str) -> bytes:
    """Return the frame that shows at ``SECONDS.png``, upright, as PNG. Raises ImageError when it cannot be decoded."""
    with said_of("the frame", ImageError):
        seconds = float(member.removesuffix(_PNG))
        if not math.isfinite(seconds):
            raise ImageError(f"the video has no frame at {seconds} s")
        picture = _DECODERS[address, version(address)].picture(seconds)
        content = io.BytesIO()
        picture.save(content, "PNG", compress_level=1)  # lossless; other threads decode the video meanwhile
        return content.getvalue()


class _Decoder:
    """A video that is decoded forwards, for threads that want one frame after the other; open until its end is reached."""

    def __init__(self, key: tuple[str, Stat | None]) -> None:
        self._address = key[0]
        self._turns = Turns()
        self._frames: Generator[tuple[Any, float], None, None] = _frames(self._address, 0)
        self._frame: Any = None
        self._from, self._until = math.inf, -math.inf  # the frame is the answer for the times between

    def picture(self, seconds: float) -> Image.Image:
        """Return what shows at a time, upright. Raises ImageError when the video has no frame there."""
        with self._turns.at(seconds):
            goes_on = self._from <= seconds < self._until + _NEAR
            try:
                frame = self._find(seconds) if goes_on else self._find_anew(seconds)
            except Exception:
                if not goes_on:
                    raise
                frame = self._find_anew(seconds)  # what is damaged before it may not matter to it
            if frame is None:
                raise ImageError(f"the video has no frame at {seconds} s")
            picture: Image.Image = frame.to_image()
            return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture

    def _find_anew(self, seconds: float) -> Any:
        self._frames.close()
        self._forget()
        self._frames, self._from = _frames(self._address, seconds), seconds
        return self._find(seconds)

    def _find(self, seconds: float) -> Any:
        try:
            while seconds >= self._until and (found := next(self._frames, None)):
                self._from = max(self._from, self._until)
                self._frame, self._until = found
        except Exception:
            self._forget()
            raise
        return self._frame if seconds < self._until + _LATE else None

    def _forget(self) -> None:
        """Have the next frame found anew."""
        self._frame, self._from, self._until = None, math.inf, -math.inf


def _frames(address: str, seconds: float) -> Generator[tuple[Any, float], None, None]:
    """Yield frames from the last key frame before a time on, each with the time until which it shows."""
    with open_binary(address) as file, _av().open(file) as container:
        stream = container.streams.video[0]
        start = (stream.start_time or 0) * stream.time_base
        container.seek(round((seconds + float(start)) / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            shows = float((frame.duration or 0) * frame.time_base) or _interval(stream)
            yield frame, frame.time - float(start) + shows


def _moments(address: str, every: float, size: int) -> Iterator[float]:
    """Yield the seconds at which frames are listed: by the packets there are, as a header may promise anything.

    Where the packets promise much more time than a file of this size lasts, or more moments than there are frames, each frame
    is listed once, so that there are no more moments than packets.
    """
    with said_of(f"video {address!r}", UsageError), open_binary(address) as file, _av().open(file) as container:
        if not container.streams.video:
            raise UsageError(f"{address!r} has no video in it")
        stream = container.streams.video[0]
        claimed = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / _MICROSECONDS
        shown = _shown(container, float(claimed)) or _shown(container, 0)
        if not shown:
            raise UsageError(f"{address!r} has no frame in it")
        end = max(until for _, until in shown)
        plausible = end * _FEWEST_BYTES <= size if size != UNKNOWN_SIZE else stream.frames
        if plausible and not 0 < stream.frames < end / every:
            yield from takewhile(lambda moment: moment < end, (number * every for number in count()))
            return
        shown = sorted(_shown(container, 0))
    following = [start for start, _ in shown[1:]]
    for (start, until), after in zip(shown, [*following, math.inf], strict=True):
        moment = math.ceil(start / every) * every
        if moment < min(after, until):
            yield moment


def _shown(container: Any, seconds: float) -> list[tuple[float, float]]:
    """Return from when until when the frames show whose packets are there, from the last key frame before a time on."""
    stream = container.streams.video[0]
    start = (stream.start_time or 0) * stream.time_base
    found = []
    with suppress(_av().FFmpegError, OverflowError):  # it has no such place, or is damaged or cut off from here on
        container.seek(round((seconds + float(start)) / stream.time_base), stream=stream)
        for packet in container.demux(stream):
            moment = packet.dts if packet.pts is None else packet.pts
            if packet.size and moment is not None and not packet.is_corrupt:
                begins = float(moment * stream.time_base - start)
                found.append((begins, begins + float((packet.duration or 0) * stream.time_base or _interval(stream))))
    return found


def _interval(stream: Any) -> float:
    """Return how long a frame shows that does not say so itself."""
    return float(1 / stream.average_rate) if stream.average_rate else _SHORT


def _av() -> Any:
    try:
        import av
    except ImportError as exc:
        raise UsageError("video files need PyAV: pip install t2c-search[video]") from exc
    return av


_DECODERS = Cache(_Decoder, _OPEN)

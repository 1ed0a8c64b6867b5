"""What an image file can do without: bytes beside its pixels that are damaged or too large, and a JPEG's end mark.

Only files that cannot be decoded as they are come here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_LARGE = 64 << 10  # bytes of a chunk beside the pixels; no colour, transparency or orientation takes so many
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_BESIDE = (b"tRNS", b"eXIf")  # which colour is clear, and which way is up
_FILLER = b"\x55\xaa" * 64  # decodes to something, where pixels are missing
_JPEG_KEPT = (0xE0, 0xE1, 0xEE)  # JFIF; EXIF, which may be damaged by itself; Adobe's, which tells CMYK from YCCK
_JPEG_BESIDE = range(0xE0, 0xF0)
_JPEG_COMMENT = 0xFE
_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_WEBP_FLAGS = 0b0001_0010  # of VP8X: transparency and animation; the others promise profile, EXIF and XMP


def without_metadata(content: bytes) -> bytes | None:
    """Return an image file without what lies beside its pixels and is damaged or large; None where nothing can be left out.

    PNG, JPEG and WebP; the other formats' readers pass over such things by themselves.
    """
    if content.startswith(_PNG_START):
        bare = _PNG_START + b"".join(_png_chunks(content))
    elif content.startswith(_JPEG_START):
        bare = _JPEG_START + b"".join(_jpeg_segments(content))
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_webp_chunks(content))
        bare = b"RIFF" + struct.pack("<I", len(body)) + body
    else:
        return None
    return bare if bare != content else None


def jpeg_ends(content: bytes) -> tuple[bytes, bytes] | None:
    """Return a JPEG that lacks its end mark with that mark, and with other bytes before it; None for other files.

    Where all pixels are there, both decode to the same: nobody reads what lies between the last pixel and the mark.
    """
    if not content.startswith(_JPEG_START) or content.endswith(_JPEG_END):
        return None
    bare = content.removesuffix(_JPEG_END[:1])  # half of the mark
    return bare + _JPEG_END, bare + _FILLER + _JPEG_END


def _png_chunks(content: bytes) -> Iterator[bytes]:
    place = len(_PNG_START)
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        kind, end = content[place + 4 : place + 8], place + 12 + size
        if end > len(content) and kind not in _PNG_PIXELS:
            end = _next(content, place + 8, _PNG_PIXELS) - 4  # where kinds stand behind the length
        chunk = content[place:end]
        if kind in _PNG_PIXELS or (kind in _PNG_BESIDE and size <= _PNG_LARGE and _is_whole(chunk)):
            yield chunk
        place = end


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    """Yield the segments before the pixels, and then all that is left."""
    place = len(_JPEG_START)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4])
        if marker == 0xDA:
            break
        if marker in _JPEG_KEPT or (marker not in _JPEG_BESIDE and marker != _JPEG_COMMENT):
            yield content[place:end]
        place = end
    yield content[place:]


def _webp_chunks(content: bytes) -> Iterator[bytes]:
    place = 12
    while place + 8 <= len(content):
        kind, (size,) = content[place : place + 4], struct.unpack_from("<I", content, place + 4)
        end = place + 8 + size + size % 2
        if end > len(content) and kind not in _WEBP_PIXELS:
            end = _next(content, place + 8, _WEBP_PIXELS)
        if kind == b"VP8X" and size:
            yield content[place : place + 8] + bytes([content[place + 8] & _WEBP_FLAGS]) + content[place + 9 : end]
        elif kind in _WEBP_PIXELS:
            yield content[place:end]
        place = end


def _next(content: bytes, place: int, kinds: Iterable[bytes]) -> int:
    """Return where the next chunk of one of these kinds is named, behind one whose length is damaged; or the end."""
    return min((found for kind in kinds if (found := content.find(kind, place)) > 0), default=len(content) + 4)

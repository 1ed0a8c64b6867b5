"""From what the user names to the list of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from t2c_search.errors import T2CError, UsageError
from t2c_search.progress import NoProgress, Progress
from t2c_search.sources.addresses import UNKNOWN_SIZE, Stat, absolute, is_remote, stat
from t2c_search.sources.arguments import as_list
from t2c_search.sources.containers.embeddings import embeddings_in
from t2c_search.sources.folders import list_file, list_folder, list_remote
from t2c_search.sources.image_list import ImageList
from t2c_search.sources.inputs import SUFFIXES, ImageInput
from t2c_search.sources.kinds import Kind, kind_of, split_member
from t2c_search.sources.lister import EVERY, Listing
from t2c_search.sources.passed_over import check_patterns
from t2c_search.sources.patterns import expand_sources
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.annotations import bounded
from t2c_search.sources.tables.captions import CaptionTable
from t2c_search.sources.tables.fields import nested, typed
from t2c_search.sources.tables.fiftyone import samples_in
from t2c_search.sources.tables.manifests import list_manifest
from t2c_search.stores.protocol import FieldType

_TOLD_AT_ONCE = 100
_TOLD_WARNINGS = 5  # of a list in which there is no image


def list_images(
    sources: str | Path | Iterable[str | Path],
    *,
    captions: str | Path | None = None,
    every: float = EVERY,
    image_column: str = "",
    types: Mapping[str, FieldType] | None = None,
    exclude: Sequence[str] = (),
    allow_private: bool = False,
    progress: Progress | None = None,
) -> ImageList:
    """List the images in folders, files, archives, tables, videos and remote file systems, each image once.

    In folders a file is an image by its ending (``SUFFIXES``). Names that start with a dot, folders that systems keep for
    themselves, and what ``exclude`` has a pattern for are passed over. Links to folders are followed, but no folder is entered
    twice. The order is that of ``sources``, then the source's own. Patterns are expanded, and ``-`` stands for the lines of
    standard input, of which those that name nothing are among the remarks. Of videos, a frame every ``every`` seconds.
    Tables may name private addresses only with ``allow_private``.

    Fields for the payload come from ``photo.txt`` and ``photo.json`` beside ``photo.jpg``, from the columns of tables,
    and from the ``captions`` table, which has the last word; ``types`` says which are more than text. The ``image_column``
    of tables holds or names the images; left out, it is found by its name, or else by what is in it.

    A damaged source is among the remarks, and so is all that was passed over, by its kind. Raises UsageError when a source
    does not exist, or when the ``captions`` cannot be used.
    """
    listing = Listing(Remarks(), every, image_column, check_patterns(as_list("exclude", exclude)), allow_private)
    table = _caption_table(captions, listing)

    def found() -> Iterator[ImageInput]:
        addresses = list(expand_sources(as_list("sources", sources), listing))
        listing.named.update(addresses)
        yield from _described(_list_all(addresses, listing, listing.remarks.add), listing, table, types or {})
        if table is not None:
            table.remark_unused()

    return ImageList(_counted(found(), progress or NoProgress()), listing.remarks.all)


def list_known(
    paths: Iterable[str],
    *,
    captions: str | Path | None = None,
    types: Mapping[str, FieldType] | None = None,
    exclude: Sequence[str] = (),
) -> ImageList:
    """List images by the paths that a listing gave them, and folders: none is a pattern, and none is refused.

    None may come from a private address: a table may have named it.
    An image that is not to be found where it was is listed all the same: reading it says why it fails.
    """
    listing = Listing(Remarks(), exclude=tuple(exclude))

    def found() -> Iterator[ImageInput]:
        left = dict.fromkeys(paths)
        for item in _list_all(list(left), listing, lambda reason, path: None):
            left.pop(item.path, None)
            yield replace(item, allow_private=False)
        yield from (ImageInput(path, UNKNOWN_SIZE, 0) for path in left if not Path(path).is_dir())

    table = _caption_table(captions, listing)
    return ImageList(_described(found(), listing, table, types or {}), listing.remarks.all)


def require_images(
    sources: str | Path | Iterable[str | Path],
    *,
    captions: str | Path | None = None,
    every: float = EVERY,
    image_column: str = "",
    types: Mapping[str, FieldType] | None = None,
    exclude: Sequence[str] = (),
    allow_private: bool = False,
    progress: Progress | None = None,
) -> ImageList:
    """List the images as ``list_images`` does. Raises UsageError when there is none, too."""
    named = as_list("sources", sources)
    inputs = list_images(
        named,
        captions=captions,
        every=every,
        image_column=image_column,
        types=types,
        exclude=exclude,
        allow_private=allow_private,
        progress=progress,
    )
    if not inputs:
        told = "; ".join(inputs.warnings[:_TOLD_WARNINGS]) + "; ..." * (len(inputs.warnings) > _TOLD_WARNINGS)
        reason = told or f"none of the files there ends in {', '.join(sorted(SUFFIXES))}"
        raise UsageError(f"no image in {', '.join(named) or 'an empty list of sources'}: {reason}")
    return inputs


def _counted(inputs: Iterable[ImageInput], progress: Progress) -> Iterator[ImageInput]:
    """Pass the images on, and tell how many there are so far: a million on a far disk take minutes."""
    progress.start(None, "listing images")
    remaining = iter(inputs)
    while some := list(islice(remaining, _TOLD_AT_ONCE)):
        yield from some
        progress.advance(len(some))


def _caption_table(captions: str | Path | None, listing: Listing) -> CaptionTable | None:
    if captions is None:
        return None
    listing.named.add(absolute(str(captions)))
    return CaptionTable(Path(captions), listing.remarks)


def _described(
    inputs: Iterable[ImageInput], listing: Listing, table: CaptionTable | None, types: Mapping[str, FieldType]
) -> Iterator[ImageInput]:
    """Yield the images with what the table of captions adds, and all fields of their types."""
    for item in inputs:
        written = {**item.fields, **table.fields(item.path)} if table is not None else item.fields
        fields = typed(nested(written, item.path, listing.remarks), types, item.path, listing.remarks)
        yield replace(item, fields=bounded(fields, item.path, listing.remarks))


def _list_all(addresses: list[str], listing: Listing, refuse: Callable[[str, str], None]) -> Iterator[ImageInput]:
    """List what is at the addresses; ``refuse`` is told of each that cannot be listed, and why.

    The members of one container are listed together, with the first of them.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        if container := split_member(address)[0]:
            members[container].append(address)
    for address in addresses:
        container, _ = split_member(address)
        try:
            if not container:
                yield from _list_one(address, listing)
            elif container in members:
                yield from _list_members(container, members.pop(container), listing)
        except T2CError as exc:
            refuse(str(exc), address)


def _list_one(address: str, listing: Listing) -> Iterator[ImageInput]:
    if not is_remote(address) and Path(address).is_dir():
        return _list_local(address, listing)
    if kind := kind_of(address):
        _require_utf8(address)
        return _list_kind(kind, address, listing)
    return list_remote(address, listing) if is_remote(address) else list_file(address, listing)


def _list_kind(kind: Kind, address: str, listing: Listing) -> Iterator[ImageInput]:
    """List a container; the members of an archive are where the user named it, and what a table names is not."""
    for item in kind.list(address, listing):
        yield replace(item, allow_private=item.allow_private or kind.holds_all or listing.allow_private)


def _require_utf8(container: str) -> None:
    """Raise UsageError for a name in which members' paths would be none that stores take, nor lead back to it."""
    try:
        container.encode()
    except UnicodeEncodeError as exc:
        raise UsageError("passed over, as its name is not valid UTF-8: rename the file") from exc


def _list_local(folder: str, listing: Listing) -> Iterator[ImageInput]:
    """List a folder: what FiftyOne's samples in it name, or else its images, or where it has none the embeddings in it."""
    vectors = embeddings_in(folder)
    if samples := samples_in(folder):
        yield from list_manifest(samples, listing)
    elif vectors and next(list_folder(folder, Listing(Remarks(), exclude=listing.exclude)), None) is None:
        for file in vectors:
            yield from _list_one(file, listing)
    else:
        yield from list_folder(folder, listing)


def _list_members(container: str, wanted: list[str], listing: Listing) -> Iterator[ImageInput]:
    """List some members of a container; one that it does not list, such as a frame between others, is taken on trust."""
    _require_utf8(container)
    kind = kind_of(container)
    members = {item.path: item for item in _list_kind(kind, container, listing)} if kind else {}
    mtime_ns = (stat(container) or Stat(0, 0)).mtime_ns
    for path in wanted:
        yield members.get(path) or ImageInput(path, UNKNOWN_SIZE, mtime_ns)

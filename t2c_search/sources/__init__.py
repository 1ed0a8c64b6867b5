"""Where images come from: folders, files, archives, tables, videos, remote file systems, with what is written there.

Each kind of source is a module that lists images and, where they are members of something, reads one by its path; the
kinds are a list, ``KINDS``.
"""

from t2c_search.sources.addresses import UNKNOWN_SIZE
from t2c_search.sources.image_list import ImageList
from t2c_search.sources.inputs import SUFFIXES, ImageInput
from t2c_search.sources.kinds import KINDS, Kind, is_file, read_image
from t2c_search.sources.lister import EVERY
from t2c_search.sources.listing import list_images, require_images
from t2c_search.sources.patterns import expand_braces

__all__ = [
    "EVERY",
    "KINDS",
    "SUFFIXES",
    "UNKNOWN_SIZE",
    "ImageInput",
    "ImageList",
    "Kind",
    "expand_braces",
    "is_file",
    "list_images",
    "read_image",
    "require_images",
]

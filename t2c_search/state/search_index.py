"""What is known of the approximate search index of a collection: how much it covers, and what came since."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from t2c_search.errors import CollectionFormatError
from t2c_search.state.kept import Kept


@dataclass(frozen=True, slots=True)
class Built:
    """How many ``images`` there were at the last complete build, and how many points were ``written`` since it began."""

    images: int = 0
    written: int = 0

    def with_written(self, points: int) -> Built:
        """Return what is known once so many points more were written."""
        return Built(self.images, self.written + points)

    def after_build(self, images: int, covered: int) -> Built:
        """Return what is known once a build of so many images is complete, which began when ``covered`` were written."""
        return Built(images, max(self.written - covered, 0))


def _load(content: bytes) -> Built:
    try:
        return Built(**json.loads(content))
    except (ValueError, TypeError) as exc:
        raise CollectionFormatError(f"what is known of the collection's search index cannot be read ({exc})") from exc


SEARCH_INDEX: Kept[Built] = Kept("search-index", Built(), lambda built: json.dumps(asdict(built)).encode(), _load)

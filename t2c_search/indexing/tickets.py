"""An endless Ray dataset of numbers, each of which lets a worker's call take the next part of the images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

TICKET = "ticket"
_SCHEMA = pa.schema([(TICKET, pa.int64())])


class Tickets(Datasource):
    """The numbers from 0 on, made by one task, no faster than they are used up."""

    def estimate_inmemory_data_size(self) -> None:
        """Return None: there is no end."""

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """Return the task."""
        return [ReadTask(_tickets, BlockMetadata(None, None, None, None), schema=_SCHEMA)]


def _tickets() -> Iterator[pa.Table]:
    for ticket in count():
        yield pa.table({TICKET: [ticket]}, _SCHEMA)

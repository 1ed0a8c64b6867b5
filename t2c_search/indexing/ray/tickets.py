"""An endless Ray dataset of numbers, each of which lets a worker's call take the next part of the images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pyarrow as pa
from ray.data import Dataset, Datasource, read_datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

TICKET = "ticket"
_SCHEMA = pa.schema([(TICKET, pa.int64())])


def endless_tickets() -> Dataset:
    """Return the numbers from 0 on; making them takes no processor, as the workers have them all."""
    return read_datasource(_Tickets(), num_cpus=0, override_num_blocks=1)  # type: ignore[no-any-return, no-untyped-call]


class _Tickets(Datasource):
    """The numbers from 0 on, made by one task, no faster than they are used up."""

    def estimate_inmemory_data_size(self) -> None:
        """Return None: there is no end."""

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """Return the task."""
        return [ReadTask(_tickets, BlockMetadata(None, None, None, None), schema=_SCHEMA)]


def _tickets() -> Iterator[pa.Table]:
    for ticket in count():
        yield pa.table({TICKET: [ticket]}, _SCHEMA)

"""Results that are tables: for a data frame, a notebook or a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t2c_search.errors import UsageError

if TYPE_CHECKING:
    import pandas
    import pyarrow


class Tabular(ABC):
    """A result with one row for each thing it speaks of; ``columns`` says what stands in them."""

    @abstractmethod
    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Return the table's columns by name, all of one length: lists of plain values, or arrays (n,) or (n, k)."""

    def to_arrow(self) -> pyarrow.Table:
        """Return the table as one of Arrow; a column (n, k) becomes one of lists."""
        import pyarrow

        return pyarrow.table({name: _plain(column) for name, column in self.columns().items()})

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame. Raises UsageError where pandas is not installed."""
        try:
            import pandas  # noqa: F401  # Arrow makes the data frame, with pandas
        except ImportError as exc:
            raise UsageError("pandas is not installed: pip install pandas, or take to_arrow()") from exc
        return self.to_arrow().to_pandas()


def _plain(column: Sequence[Any]) -> Any:
    return list(column) if getattr(column, "ndim", 1) > 1 else column

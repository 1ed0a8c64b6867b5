from __future__ import annotations

from tests.stores.conftest import disk as disk  # a fixture

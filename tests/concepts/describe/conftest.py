from __future__ import annotations

import pytest

from t2c_search.concepts.describe.training import Trained, train_decoder
from tests.concepts.describe.language import TINY, captions


@pytest.fixture(scope="session")
def log() -> list[str]:
    """What the training of the tiny decoder said."""
    return []


@pytest.fixture(scope="session")
def trained(log: list[str]) -> Trained:
    return train_decoder(captions(), TINY, seed=3, log=log.append)

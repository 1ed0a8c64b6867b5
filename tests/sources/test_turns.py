"""Threads that wait for what is read forwards get it in the order of the places that they want."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from t2c_search.sources.containers.turns import Turns


def test_the_earliest_place_goes_first_and_one_at_a_time() -> None:
    turns = Turns()
    order: list[int] = []
    inside: list[int] = []

    def read(place: int) -> None:
        with turns.at(place):
            inside.append(place)
            assert len(inside) == 1
            order.append(place)
            inside.remove(place)

    with ThreadPoolExecutor(5) as pool:
        with turns.at(100):
            waiting = [pool.submit(read, place) for place in (9, 3, 7, 3, 8)]
            while len(turns._wanted) < 5:
                time.sleep(0.001)
        for item in waiting:
            item.result()
    assert order == [3, 3, 7, 8, 9]


def test_a_turn_is_given_back_after_an_error() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"), turns.at(2):
        raise ValueError("broken")
    with turns.at(1):
        pass

"""What takes long to make and is kept for a while: archives' lists of members, open videos."""

from __future__ import annotations

import pytest

from t2c_search.sources.containers.cache import Cache


def test_the_values_used_last_are_kept_and_no_more() -> None:
    made: list[str] = []
    cache: Cache[str, str] = Cache(lambda key: made.append(key) or key.upper(), 2)
    assert [cache[key] for key in "abaca"] == list("ABACA")
    assert made == ["a", "b", "c"], "a was used again and again"
    assert cache["b"] == "B"
    assert made == ["a", "b", "c", "b"], "b had to go for c"


def test_what_failed_is_made_anew() -> None:
    answers = iter([OSError("not now"), "there"])

    def make(key: str) -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    cache = Cache(make, 2)
    with pytest.raises(OSError, match="not now"):
        cache["a"]
    assert cache["a"] == cache["a"] == "there"

"""What a condition on the payload may hold."""

from __future__ import annotations

from math import inf, nan

import pytest
from pydantic import ValidationError

from t2c_search.filters import Equals, GeoRadius, OneOf, Range


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_only_finite_numbers_compare(number):
    for condition in (
        lambda: Equals(field="width", value=number),
        lambda: Range(field="width", gte=number),
        lambda: GeoRadius(field="gps", lat=1, lon=2, metres=number),
    ):
        with pytest.raises(ValidationError, match="finite"):
            condition()


def test_a_range_takes_a_bound():
    with pytest.raises(ValidationError, match="at least one of gt, gte, lt and lte"):
        Range(field="width")
    assert Range(field="width", lte=0).lte == 0


def test_a_value_keeps_its_type():
    for value in (True, False, 0, 1, 3, 3.0, "3", "true", 2**63 - 1):
        for condition in (
            Equals(field="x", value=value),
            Equals.model_validate_json(f'{{"field":"x","value":{_json(value)}}}'),
        ):
            assert condition.value == value and type(condition.value) is type(value)


def test_whole_numbers_fit_into_64_bits():
    with pytest.raises(ValidationError):
        OneOf(field="width", values=(2**63,))
    assert type(Equals(field="width", value=2**63).value) is float  # as engines compare it
    with pytest.raises(ValidationError):
        Equals(field="width", value=10**400)


def _json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()

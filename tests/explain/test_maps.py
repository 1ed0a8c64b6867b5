"""Maps sum to the score about the centre, and are enlarged between the centres of their places."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from t2c_search.attribution.factors import PlaceFactors
from t2c_search.explain.maps import contested, enlarge, maps


def factors() -> PlaceFactors:
    generator = torch.Generator().manual_seed(3)
    vectors = normalize(torch.randn(3, 8, generator=generator, dtype=torch.float64))
    base, parts = torch.randn(3, 8, generator=generator) / 9, torch.randn(3, 6, 8, generator=generator) / 9
    return PlaceFactors(vectors, base.double(), parts.double(), "exact", (2, 3))


def test_a_map_sums_to_the_score_about_the_centre() -> None:
    made, rows = factors(), torch.randn(4, 8, generator=torch.Generator().manual_seed(4)).double()
    centre = made.vectors.mean(0)
    assert torch.allclose(maps(made, rows, centre).sum(2), (made.vectors - centre) @ rows.T, atol=1e-12)


def test_places_differ_by_their_factors_alone() -> None:
    made, rows = factors(), torch.randn(4, 8, generator=torch.Generator().manual_seed(4)).double()
    found = maps(made, rows, torch.zeros(8).double())
    assert torch.allclose(found.diff(dim=2), torch.einsum("kd,npd->nkp", rows, made.parts.diff(dim=1)), atol=1e-12)


def test_contested_maps_give_up_what_another_claims() -> None:
    found = torch.tensor([[[3.0, -1.0, -2.0], [1.0, -2.0, 1.0], [2.0, 4.0, -9.0]]])
    assert contested(found).tolist() == [[[1, -5, -3], [-2, -6, 1], [-1, 4, -10]]]


def test_a_text_alone_claims_what_is_above_its_mean_or_above_nothing() -> None:
    found = torch.tensor([[[3.0, 1.0, -1.0]], [[3.0, -1.0, -5.0]]])
    assert contested(found).tolist() == [[[2, 0, -2]], [[3, -1, -5]]]


def test_a_text_that_is_not_there_changes_no_other() -> None:
    found = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(5))
    with_absent = torch.cat([found, -torch.rand(2, 1, 6, generator=torch.Generator().manual_seed(6))], dim=1)
    assert torch.equal(contested(with_absent)[:, :3], contested(found))


def test_each_image_may_have_directions_of_its_own() -> None:
    made, rows = factors(), torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(4)).double()
    centre = made.vectors.mean(0)
    found = maps(made, rows, centre)
    assert all(torch.allclose(found[at], maps(made, rows[at], centre)[at]) for at in range(3))


def test_enlarged_values_lie_between_the_centres_of_places() -> None:
    row = torch.tensor([0.0, 1.0, 4.0]).expand(1, 2, 3)
    large = enlarge(row, (1, 3), (2, 6))
    assert large.shape == (1, 2, 2, 6)
    assert large[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.75, 3.25, 4]

"""Banzhaf factors are what the full second-order fit of masked scores says, and say how far they can be trusted."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import normalize

from t2c_search.attribution.banzhaf import BanzhafFactors, Masks, factors
from t2c_search.errors import UsageError

WIDTH = 5


class Side:
    """One side of a dual encoder: pixels (n, 1, h, w) through a net that mixes places, in double precision."""

    def __init__(self, cells: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.first = torch.randn(cells, 9, generator=generator, dtype=torch.float64)
        self.second = torch.randn(9, WIDTH, generator=generator, dtype=torch.float64)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.flatten(1) @ self.first + 0.3).tanh() @ self.second


class BlackBox:
    """An encoder that is known by ``encode_images`` alone."""

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        angle = pixels.flatten(1).sum(1)
        return torch.stack([angle, torch.ones_like(angle)], 1)


def pixels(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def second_order_fit(scores: torch.Tensor, sizes: tuple[int, int], kept: float) -> torch.Tensor:
    """Fit scores of all masks of both sides, (2^a, 2^b), by a model of singles and pairs; return its cross pairs (a, b)."""
    first, second = sizes
    masks = [(torch.arange(2**size)[:, None] >> torch.arange(size) & 1).double() for size in sizes]
    both = torch.tensor([[*a, *b] for a, b in itertools.product(masks[0].tolist(), masks[1].tolist())]).double()
    number = both.sum(1)
    weights = (kept**number * (1 - kept) ** (both.shape[1] - number)).sqrt()
    pairs = list(itertools.combinations(range(first + second), 2))
    design = torch.cat([torch.ones(len(both), 1).double(), both, *[both[:, [i]] * both[:, [j]] for i, j in pairs]], 1)
    found = torch.linalg.lstsq(design * weights[:, None], scores.reshape(-1, 1) * weights[:, None]).solution[:, 0]
    cross = torch.zeros(first, second).double()
    for (i, j), value in zip(pairs, found[1 + first + second :], strict=True):
        if i < first <= j:
            cross[i, j - first] = value
    return cross


def test_all_masks_give_the_cross_pairs_of_the_full_second_order_fit_whichever_side_is_the_image() -> None:
    image, text = Side(4, 1), Side(3, 2)
    shown, written = pixels(1, 1, 2, 2), pixels(1, 1, 1, 3, seed=2)
    places = factors(image, None, shown, Masks((2, 2), 16))
    tokens = factors(text, None, written, Masks((1, 3), 8))
    kept = [(torch.arange(2**size)[:, None] >> torch.arange(size) & 1).double() for size in (4, 3)]
    rows = normalize(image.embed(kept[0] * shown.flatten(1)), dim=1)
    others = normalize(text.embed(kept[1] * written.flatten(1)), dim=1)
    cross = second_order_fit(rows @ others.T, (4, 3), 0.7)
    assert torch.allclose(places.parts[0] @ tokens.parts[0].T, cross, atol=1e-9, rtol=0)
    assert torch.allclose(second_order_fit(others @ rows.T, (3, 4), 0.7), cross.T, atol=1e-9, rtol=0)
    assert not places.standard_errors.any()


def test_a_place_is_worth_what_it_adds_on_average() -> None:
    side, shown = Side(4, 3), pixels(1, 1, 2, 2)
    found = factors(side, None, shown, Masks((2, 2), 16, kept=0.6))
    added = torch.zeros(WIDTH).double()
    for others in itertools.product((0, 1), repeat=3):
        share = 0.6 ** sum(others) * 0.4 ** (3 - sum(others))
        with_it, without = (
            normalize(side.embed(shown * torch.tensor([*others[:2], each, *others[2:]]).view(1, 1, 2, 2)), dim=1)
            for each in (1.0, 0.0)
        )
        added += share * (with_it - without)[0]
    assert torch.allclose(found.parts[0, 2], added, atol=1e-12)


def test_sampled_masks_come_near_all_of_them_and_their_standard_errors_say_how_near() -> None:
    side, shown = Side(9, 4), pixels(3, 1, 3, 3)
    exact = factors(side, None, shown, Masks((3, 3), 512))
    ratios = []
    for seed in range(12):
        found = factors(side, None, shown, Masks((3, 3), 100, seed=seed))
        ratios.append((found.parts - exact.parts).pow(2).sum(2) / found.standard_errors**2)
        assert ((found.r2 - exact.r2).abs() < 0.35).all()
        assert ((found.spearman - exact.spearman).abs() < 0.35).all()
    assert 0.5 < float(torch.stack(ratios).mean()) < 2


def test_masks_are_seeded_and_an_image_means_the_same_alone_and_among_others() -> None:
    side, shown = Side(9, 4), pixels(2, 1, 3, 3)
    both, again = (factors(side, None, shown, Masks((3, 3), 40)) for _ in range(2))
    alone = factors(side, None, shown[1:], Masks((3, 3), 40))
    assert torch.equal(both.parts, again.parts)
    assert torch.allclose(both.parts[1:], alone.parts, atol=1e-12)
    assert torch.allclose(both.vectors, normalize(side.embed(shown), dim=1), atol=1e-12)


def test_what_was_predicted_is_of_masks_that_the_fit_has_not_seen() -> None:
    """As many unknowns as masks fit noise perfectly: the R2 must not say so."""

    class Noise(Side):
        def embed(self, pixels: torch.Tensor) -> torch.Tensor:
            return (pixels.flatten(1) @ self.first * 1e3).sin() @ self.second

    found = factors(Noise(36, 5), None, pixels(2, 1, 6, 6), Masks((6, 6), 36))
    assert (found.r2 < 0.1).all()


def test_black_boxes_and_grids_that_do_not_divide_the_pixels() -> None:
    found = factors(BlackBox(), None, pixels(1, 1, 7, 5), Masks((3, 2), 64))
    assert isinstance(found, BanzhafFactors)
    assert found.parts.shape == (1, 6, 2)
    assert found.grid == (3, 2)


@pytest.mark.parametrize("wrong", [{"grid": (0, 3)}, {"number": 1}, {"kept": 1.0}])
def test_masks_that_tell_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="tell nothing"):
        Masks(**wrong)  # type: ignore[arg-type]


def test_a_grid_finer_than_the_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot lie over pixels"):
        factors(Side(4, 1), None, pixels(1, 1, 2, 2), Masks((3, 3)))

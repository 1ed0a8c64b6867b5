"""Closed-form tangents are the Jacobian's own, and with nodes enough all of a vector is accounted for."""

from __future__ import annotations

import pytest
import torch
from torch.func import jvp
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from t2c_search.attribution import analytic, integrals, jacobian
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.projection import hold
from t2c_search.encoders.adapters.tower import ImageTower
from tests.attribution.encoders import ATTENTION, aligner_of, noise, wrap

KINDS = pytest.mark.parametrize("kind", ATTENTION)


def by_forward_mode(encoder: ImageTower, pixels: torch.Tensor, nodes: int) -> PlaceFactors:
    """Return factors from torch's own derivative along each position alone, the module run as it is."""
    cut = jacobian.cut_at(encoder, pixels)
    start, end = cut.values[-1:], cut.values[:-1]
    rows = cut.read(cut.values)
    aligner = aligner_of(encoder.image_dim)
    held = hold(rows[:-1], aligner)
    moved = torch.zeros(*end.shape[:2], rows.shape[1]).double()
    with integrals.plain_attention():
        for point, weight in integrals.gauss_legendre(nodes):
            for position in range(end.shape[1]):
                alone = torch.zeros_like(end)
                alone[:, position] = (end - start)[:, position]
                moved[:, position] += weight * jvp(cut.read, (start + point * (end - start),), (alone,))[1]
    places = cut.grid[0] * cut.grid[1]
    base = held.base + held.map(rows[-1:].expand_as(rows[:-1]) + moved[:, :-places].sum(1))
    return PlaceFactors(held.base + held.map(rows[:-1]), base, held.map(moved[:, -places:]), "jvp", cut.grid)


def assert_same(some: PlaceFactors, others: PlaceFactors) -> None:
    assert some.grid == others.grid
    for name in ("vectors", "base", "parts"):
        torch.testing.assert_close(getattr(some, name), getattr(others, name), atol=1e-9, rtol=0)


@KINDS
def test_closed_form_is_backward_mode_and_forward_mode(kind: str) -> None:
    encoder = wrap(ATTENTION[kind]())
    pixels, aligner = noise(encoder), aligner_of(encoder.image_dim)
    found = analytic.factors(encoder, aligner, pixels, nodes=3)
    assert_same(found, jacobian.factors(encoder, aligner, pixels, nodes=3))
    assert_same(found, by_forward_mode(encoder, pixels, nodes=3))
    torch.testing.assert_close(found.vectors, hold_vectors(encoder, pixels), atol=1e-12, rtol=0)
    assert found.parts.norm(dim=2).min() > 1e-6


def hold_vectors(encoder: ImageTower, pixels: torch.Tensor) -> torch.Tensor:
    rows = encoder.embed(pixels)
    held = hold(rows, aligner_of(encoder.image_dim))
    return held.base + held.map(rows)


@KINDS
def test_the_residual_goes_with_more_nodes_and_sooner_than_a_riemann_sums(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = wrap(ATTENTION[kind]())
    pixels = noise(encoder)
    missed = [analytic.factors(encoder, None, pixels, nodes).residual.norm().item() for nodes in (2, 8, 24)]
    assert missed[0] > missed[1] > missed[2]
    assert missed[2] < 1e-6
    monkeypatch.setattr(integrals, "gauss_legendre", lambda nodes: [((n + 1) / nodes, 1 / nodes) for n in range(nodes)])
    assert analytic.factors(encoder, None, pixels, 8).residual.norm() > 10 * missed[1]


def test_nodes_are_doubled_for_the_images_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = wrap(ATTENTION["class token"]())
    pixels = noise(encoder, 4) * torch.tensor([1.0, 0.01, 1.0, 0.01]).view(4, 1, 1, 1)
    few = analytic.factors(encoder, None, pixels, nodes=4)
    assert (few.unexplained > integrals.ENOUGH).tolist() == [True, False, True, False]
    asked = []
    true = analytic.attention_parts
    monkeypatch.setattr(
        analytic, "attention_parts", lambda *given: asked.append((len(given[2]), given[3])) or true(*given)
    )
    found = analytic.factors(encoder, None, pixels)
    assert asked[0] == (4, 4)
    assert asked[1] == (2, 8)
    assert found.unexplained.max() <= 1.01 * integrals.ENOUGH
    torch.testing.assert_close(found.parts[1], few.parts[1])


@KINDS
def test_images_do_not_depend_on_their_batch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = wrap(ATTENTION[kind]())
    pixels = noise(encoder, 3)
    together = analytic.factors(encoder, None, pixels)
    monkeypatch.setattr(analytic, "_AT_ONCE", 1)
    assert_same(together, analytic.factors(encoder, None, pixels))
    assert torch.allclose(together.parts[1:2], analytic.factors(encoder, None, pixels[1:2]).parts, atol=1e-9)


def test_the_class_tokens_own_mass_is_in_the_base() -> None:
    """A fault of the public code, which cuts the class token's row off and loses what came by it."""
    encoder = wrap(ATTENTION["class token"]())
    pixels = noise(encoder)
    found = analytic.factors(encoder, None, pixels, nodes=24)
    length = encoder.embed(pixels).norm(dim=1, keepdim=True)
    without = encoder.embed(torch.zeros_like(pixels[:1])) / length
    assert found.residual.norm(dim=1).max() < 1e-6
    assert (found.vectors - without - found.parts.sum(1)).norm(dim=1).min() > 0.1


def test_blocks_side_by_side_are_each_read_at_their_own_input() -> None:
    encoder = wrap(ATTENTION["registers, layer scale, no bias"](), layers=2)
    module, pixels = encoder.module.module, noise(encoder)
    found = analytic.factors(encoder, None, pixels, nodes=48)
    torch.testing.assert_close(found.vectors, normalize(encoder.embed(pixels).double()), atol=1e-6, rtol=0)
    assert found.residual.norm(dim=1).max() < 1e-6
    last = analytic.factors(wrap_as_it_is(module), None, pixels, nodes=48)
    rows = encoder.embed(pixels).double()
    width = rows.shape[1] // 3  # the embedding, and the class tokens of two blocks
    weight = (rows[:, :width].norm(dim=1) / rows.norm(dim=1)).view(-1, 1, 1)
    torch.testing.assert_close(found.parts[..., :width], last.parts * weight, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.parts[..., 2 * width :], found.parts[..., :width], atol=1e-9, rtol=0)
    assert (found.parts[..., width : 2 * width] - found.parts[..., :width]).abs().max() > 1e-3


def test_so_are_open_clips_where_the_embedding_is_projected_and_class_tokens_are_not() -> None:
    encoder = wrap(ATTENTION["open_clip's class token"](), layers=2)
    pixels = noise(encoder)
    assert encoder.image_dim == 10 + 24 + 24
    found = analytic.factors(encoder, None, pixels, nodes=48)
    torch.testing.assert_close(found.vectors, normalize(encoder.embed(pixels).double()), atol=1e-6, rtol=0)
    assert found.residual.norm(dim=1).max() < 1e-4


def wrap_as_it_is(module: torch.nn.Module) -> ImageTower:
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    encoder = wrap(ATTENTION["registers, layer scale, no bias"]())
    encoder.module.load_state_dict(weights)
    return encoder


def test_attention_that_looks_everywhere_alike_is_a_mean_and_gives_what_a_mean_would() -> None:
    """Where both apply, analytic is exact: without queries the tower averages, and all behind it is linear."""
    encoder = wrap(ATTENTION["the mean asks"]())
    pool, pixels = encoder.module.attnpool, noise(encoder)
    with torch.no_grad():
        pool.q_proj.weight.zero_()
        pool.q_proj.bias.zero_()
        values = encoder.feature_map(torch.cat([pixels, torch.zeros_like(pixels[:1])])).values
        delta = values[:-1] - values[-1:]
        expected = delta @ (pool.c_proj.weight @ pool.v_proj.weight).T / delta.shape[1]
        length = encoder.embed(pixels).norm(dim=1).view(-1, 1, 1)
    found = analytic.factors(encoder, None, pixels, nodes=1)
    torch.testing.assert_close(found.parts, expected / length, atol=1e-9, rtol=0)


class _Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that is made meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = function(*args, **(kwargs or {}))
        sizes = [each.numel() for each in torch.utils._pytree.tree_leaves(made) if isinstance(each, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return made


def test_factors_are_the_dense_product_of_jacobians_without_making_it() -> None:
    """Equation 10 contracted as published, (S d) x (P d) numbers; ours hold a vector a part."""
    one, other = wrap(ATTENTION["open_clip's class token"]()), wrap(ATTENTION["open_clip's, normed behind"]())
    dense_sides = [dense(one), dense(other)]
    products = torch.einsum("cpd,csf->pdsf", *(jacobians for jacobians, _, _ in dense_sides))
    (_, delta, length), (_, moved, far) = dense_sides
    expected = torch.einsum("pd,pdsf,sf->ps", delta, products, moved) / length / far
    with _Largest() as largest:
        sides = [analytic.factors(each, None, noise(each, 1), nodes=4).parts[0] for each in (one, other)]
        found = sides[0] @ sides[1].T
    torch.testing.assert_close(found, expected[1:, 1:], atol=1e-10, rtol=0)
    weights = max(parameter.numel() for parameter in one.module.parameters())
    assert largest.numbers < max(products.numel() / 20, 17 * weights)


def dense(encoder: ImageTower) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a side's integrated Jacobian (width, tokens, d) by one backward pass a dimension, delta, and length."""
    cut = jacobian.cut_at(encoder, noise(encoder, 1))
    delta = cut.values[0] - cut.values[1]
    integrated = torch.zeros(encoder.image_dim, *delta.shape).double()
    for point, weight in integrals.gauss_legendre(4):
        at = (cut.values[1:] + point * delta).detach().requires_grad_()
        for dimension in range(encoder.image_dim):
            integrated[dimension] += weight * torch.autograd.grad(cut.read(at)[0, dimension], at)[0][0]
    return integrated, delta, cut.read(cut.values[:1]).norm()


def test_a_pairs_matrix_is_the_transpose_of_the_pair_the_other_way_round() -> None:
    encoder = wrap(ATTENTION["class token"]())
    factors = analytic.factors(encoder, aligner_of(encoder.image_dim), noise(encoder, 2), nodes=24)
    whole = torch.cat([factors.base.unsqueeze(1), factors.parts], 1)
    there, back = whole[0] @ whole[1].T, whole[1] @ whole[0].T
    torch.testing.assert_close(there, back.T, atol=1e-15, rtol=0)
    cosine = (factors.vectors[0] * factors.vectors[1]).sum()
    assert there.sum().item() == pytest.approx(cosine.item(), abs=1e-6)  # norms are held on both sides

"""The fit on pairs whose true relation is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from t2c_search.alignment.fit import CRITERIA, METHODS, FitRecipe, fit_aligner
from t2c_search.alignment.report import FitReport
from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.errors import AlignmentError, UsageError
from t2c_search.types import EncoderRef, Fingerprint

Batch = tuple[list[str], torch.Tensor, torch.Tensor]
D_BACKBONE, D_CLIP = 24, 16
BACKBONE = EncoderRef("timm:small", D_BACKBONE, Fingerprint("w1", "p1"))
CLIP = EncoderRef("open_clip:tiny", D_CLIP, Fingerprint("w2", "p2"))


class World:
    """Images with a hidden cause that both models see: the CLIP rows exactly, the backbone through noise."""

    def __init__(self, n: int, noise: float, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        cause = torch.randn(n, 12, generator=generator) * torch.linspace(2, 0.3, 12)
        to_clip = torch.randn(12, D_CLIP, generator=generator)
        self.y = normalize(cause @ to_clip + 4 * torch.randn(1, D_CLIP, generator=generator))
        seen = cause + noise * torch.randn(n, 12, generator=generator)
        self.x = seen @ torch.randn(12, D_BACKBONE, generator=generator) + 3
        self.ids = [f"image-{i}" for i in range(n)]
        self.concepts = normalize(torch.randn(30, D_CLIP, generator=generator))

    def batches(self, size: int = 64) -> list[Batch]:
        return [
            (self.ids[i : i + size], self.x[i : i + size], self.y[i : i + size]) for i in range(0, len(self.ids), size)
        ]


@pytest.mark.parametrize("n", [400, 25], ids=["many", "about as many as dimensions"])
def test_a_planted_affine_map_is_recovered_scale_and_bias_included(n: int) -> None:
    generator = torch.Generator().manual_seed(5)
    y = normalize(torch.randn(n, D_CLIP, generator=generator) + 2)
    backwards = torch.randn(D_CLIP, D_BACKBONE, generator=generator) * 50
    x = y @ backwards + 1000  # so y is an affine function of x, of another scale and far from zero
    aligner, report = fit_aligner(
        [([str(i) for i in range(n)], x, 7 * y)],
        backbone=BACKBONE,
        clip=CLIP,
        recipe=FitRecipe(criterion="r2", method="ridge"),
    )
    torch.testing.assert_close(aligner.affine(x), y, atol=0.02, rtol=0)
    assert report.strength == min(1e-4, report.strength)
    assert report.r2 > 0.99
    assert report.mean_cosine > 0.999


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_the_features_does_not_matter(method: str) -> None:
    world = World(120, noise=0.5)
    ours, _ = fit_aligner(
        world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(concepts=world.concepts, method=method)
    )
    scaled = [(ids, 1000 * x, 3 * y) for ids, x, y in world.batches()]
    theirs, _ = fit_aligner(
        scaled, backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(concepts=world.concepts, method=method)
    )
    torch.testing.assert_close(theirs(1000 * world.x), ours(world.x), atol=1e-4, rtol=0)
    torch.testing.assert_close(theirs.bias, ours.bias, atol=1e-4, rtol=0)


def test_noise_asks_for_more_strength() -> None:
    def strength(noise: float) -> float:
        world = World(60, noise)
        return fit_aligner(
            world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(criterion="r2", method="ridge")
        )[1].strength

    assert strength(0.05) < strength(1.0) < strength(8.0)


def test_the_chosen_map_is_the_best_by_its_criterion() -> None:
    world = World(150, noise=1.0)
    reports = {
        criterion: fit_aligner(
            world.batches(),
            backbone=BACKBONE,
            clip=CLIP,
            recipe=FitRecipe(concepts=world.concepts, criterion=criterion),
        )[1]
        for criterion in CRITERIA
    }

    def best(figure: str) -> float:
        return max(getattr(report, figure) for report in reports.values())

    assert reports["concept-fidelity"].concept_fidelity == best("concept_fidelity")
    assert reports["retrieval"].centred_recall_at_1 == best("centred_recall_at_1")
    assert reports["r2"].r2 == best("r2")


def test_held_out_figures_tell_the_truth_about_new_images() -> None:
    world, fresh = World(600, noise=0.5), World(600, noise=0.5)
    aligner, report = fit_aligner(
        [(ids[:300], x[:300], y[:300]) for ids, x, y in world.batches(600)], backbone=BACKBONE, clip=CLIP
    )
    assert (report.pairs, report.held_out_pairs) == (300, 60)
    cosine = (aligner(fresh.x[300:]) * fresh.y[300:]).sum(1).mean()
    assert report.mean_cosine == pytest.approx(float(cosine), abs=0.01)


def test_order_and_batches_of_the_pairs_do_not_matter() -> None:
    world = World(130, noise=0.5)
    ours, report = fit_aligner(
        world.batches(130), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(concepts=world.concepts)
    )
    theirs, other = fit_aligner(
        reversed(world.batches(7)), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(concepts=world.concepts)
    )
    torch.testing.assert_close(theirs(world.x), ours(world.x), atol=1e-4, rtol=0)
    assert replace(other, seconds=0).to_json() == pytest.approx(replace(report, seconds=0).to_json(), abs=1e-4)


def test_the_aligner_is_fitted_on_all_pairs_in_the_end() -> None:
    world = World(100, noise=0.5)
    aligner, report = fit_aligner(
        world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(criterion="r2", method="ridge")
    )
    x, y = world.x.double(), world.y.double()
    centred = x - x.mean(0)
    penalty = report.strength * centred.square().sum() / D_BACKBONE
    weight = torch.linalg.solve(centred.T @ centred + penalty * torch.eye(D_BACKBONE), centred.T @ (y - y.mean(0)))
    torch.testing.assert_close(aligner.weight.double(), weight, atol=1e-5, rtol=1e-4)


def test_the_default_criterion_speaks_of_text_where_there_is_text() -> None:
    world = World(60, noise=0.5)
    _, with_text = fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(concepts=world.concepts))
    _, without = fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP)
    assert (with_text.criterion, without.criterion) == ("concept-fidelity", "retrieval")
    assert with_text.concept_fidelity is not None
    assert without.concept_fidelity is None
    assert FitReport(**with_text.to_json()) == with_text


def test_the_pooled_training_figure_flatters() -> None:
    world = World(60, noise=8.0)
    _, report = fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(criterion="r2"))
    assert report.pooled_training_r2 > report.r2 + 0.3


def test_too_few_pairs() -> None:
    with pytest.raises(AlignmentError, match="19 images went through both models, a fit takes at least 20"):
        fit_aligner(World(19, 0.1).batches(), backbone=BACKBONE, clip=CLIP)
    with pytest.raises(AlignmentError, match="0 images went through both models"):
        fit_aligner([], backbone=BACKBONE, clip=CLIP)


def test_rows_that_do_not_fit_the_models() -> None:
    world = World(30, 0.1)
    with pytest.raises(AlignmentError, match=r"'open_clip:tiny' gave an array of shape \(30, 15\) for 30 images"):
        fit_aligner([(world.ids, world.x, world.y[:, :15])], backbone=BACKBONE, clip=CLIP)
    with pytest.raises(AlignmentError, match=r"'timm:small' gave an array of shape \(29, 24\) for 30 images"):
        fit_aligner([(world.ids, world.x[:29], world.y)], backbone=BACKBONE, clip=CLIP)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_traced_to_their_image(value: float) -> None:
    world = World(30, 0.1)
    world.x[17, 3] = value
    with pytest.raises(AlignmentError, match=r"'timm:small' gave numbers that are not finite for image image-17"):
        fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP)


def test_choices_that_do_not_exist() -> None:
    world = World(30, 0.1)
    with pytest.raises(
        UsageError, match="no criterion 'best' to fit an aligner; known: concept-fidelity, retrieval, r2"
    ):
        fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(criterion="best"))
    with pytest.raises(UsageError, match="no method 'magic'"):
        fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(method="magic"))
    with pytest.raises(UsageError, match="'concept-fidelity' needs texts, and 'open_clip:tiny' has no text side"):
        fit_aligner(world.batches(), backbone=BACKBONE, clip=CLIP, recipe=FitRecipe(criterion="concept-fidelity"))


def test_the_bundled_concepts_are_many_short_and_distinct() -> None:
    concepts = concept_vocabulary("open_clip:ViT-B-32/laion2b_s34b_b79k")
    assert 500 <= len(concepts) == len(set(concepts)) <= 800
    assert all(concept == concept.strip() and len(concept) < 40 for concept in concepts)
    assert {"a dog", "the sea", "red"} <= set(concepts)


def test_the_mini_clip_is_asked_for_every_look_of_the_drawn_world() -> None:
    from t2c_search.demo import words
    from t2c_search.demo.truth import read

    concepts = concept_vocabulary("mini")
    patterns = [pattern for text in concepts for pattern in read(text).patterns]
    assert {pattern.shape for pattern in patterns} == {None, *words.SHAPES}
    assert {pattern.colour for pattern in patterns} == {None, *words.COLOURS}
    assert {read(text).background for text in concepts} == {None, *words.BACKGROUNDS}

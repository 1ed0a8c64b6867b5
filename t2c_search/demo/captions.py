"""True sentences about drawn scenes, of varied length, wording and choice of what to mention."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from t2c_search.demo import words
from t2c_search.demo.dice import Dice
from t2c_search.demo.truth import Thing, Truth
from t2c_search.demo.words import with_article
from t2c_search.demo.world import Scene

MENTIONS: tuple[tuple[str, ...], ...] = (
    *[("shape",)] * 5,
    *[("colour",)] * 2,
    *[("colour", "shape")] * 7,
    *[("fill", "shape")] * 3,
    *[("size", "shape")] * 2,
    ("fill", "colour"),
    ("fill", "colour", "shape"),
    ("size", "colour", "shape"),
    ("size", "fill", "colour", "shape"),
)
"""Which attributes a caption mentions of one object; as often as they stand here."""


def captions(scene: Scene, count: int) -> list[str]:
    """``count`` true captions of a scene, the same ones on every machine."""
    dice = Dice(scene.seed, scene.index, 1)  # a stream of its own beside the one that drew the scene
    return [caption(scene.truth, dice) for _ in range(count)]


def names(scene: Scene, count: int) -> list[str]:
    """``count`` captions of colour and shape, half of them with the background: the first words to learn."""
    dice = Dice(scene.seed, scene.index, 4)
    said = []
    for _ in range(count):
        name = with_article(_looks(dice.choice(scene.truth.things), ("colour", "shape"), dice))
        said.append(f"{name} {_background(scene.truth, dice)}" if dice.chance(50) else name)
    return said


def telling(truth: Truth) -> str:
    """Say what the mini models know of a scene: its only object by colour and shape, or the shapes of several; and where.

    Shapes, three at most, come in the order of the alphabet; several objects of one shape are counted.
    """
    where = words.BACKGROUNDS[truth.background][0]
    shapes = list(dict.fromkeys(thing.shape for thing in truth.things))
    if len(truth.things) == 1:
        return f"{with_article(f'{truth.things[0].colour} {shapes[0]}')} {where}"
    if len(shapes) == 1:
        return f"{words.COUNTS[len(truth.things)][0]} {words.plural(shapes[0])} {where}"
    return f"{' and '.join(map(with_article, sorted(shapes[:3])))} {where}"


def bindings() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every phrase that names a colour and a shape, and every one that names a fill and a shape, synonyms included."""
    nouns = [noun for synonyms in words.SHAPES.values() for noun in synonyms]

    def phrases(adjectives: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(
            with_article(f"{word} {noun}") for synonyms in adjectives.values() for word in synonyms for noun in nouns
        )

    return phrases(words.COLOURS), phrases(words.FILLS)


def caption(truth: Truth, dice: Dice) -> str:
    """One true caption of a scene."""
    kind = dice.choice(KINDS)
    text = kind(truth, dice)
    return f"{dice.choice(words.PICTURES)} {text}" if dice.chance(15) and kind is not _background else text


def _background(truth: Truth, dice: Dice) -> str:
    return dice.choice(words.BACKGROUNDS[truth.background])


def _one(truth: Truth, dice: Dice) -> str:
    return with_article(_looks(dice.choice(truth.things), dice.choice(MENTIONS), dice))


def _placed(truth: Truth, dice: Dice) -> str:
    return f"{_one(truth, dice)} {_background(truth, dice)}"


def _two(truth: Truth, dice: Dice) -> str:
    if len(truth.things) < 2:
        return _one(truth, dice)
    mention = dice.choice(MENTIONS)
    first, second = (_looks(thing, mention, dice) for thing in dice.sample(truth.things, 2))
    text = f"{with_article(first)} and {with_article(second)}"
    return f"{text} {_background(truth, dice)}" if dice.chance(30) else text


def _relation(truth: Truth, dice: Dice) -> str:
    if len(truth.things) < 2:
        return _placed(truth, dice)
    first, second = dice.sample(truth.things, 2)
    holding = [relation for relation in words.RELATIONS if first.stands(relation, second)]
    if not holding:
        return _two(truth, dice)
    mention = dice.choice((("shape",), ("shape",), ("colour", "shape")))
    relation = dice.choice(words.RELATIONS[dice.choice(holding)])
    return f"{with_article(_looks(first, mention, dice))} {relation} {with_article(_looks(second, mention, dice))}"


def _total(truth: Truth, dice: Dice) -> str:
    return _counted(len(truth.things), dice.choice(words.ANYTHING), dice)


def _kind_count(truth: Truth, dice: Dice) -> str:
    thing = dice.choice(truth.things)
    noun = dice.choice(words.SHAPES[thing.shape])
    return _counted(sum(other.shape == thing.shape for other in truth.things), noun, dice)


KINDS: tuple[Callable[[Truth, Dice], str], ...] = (
    *[_one] * 7,
    *[_placed] * 3,
    *[_two] * 4,
    *[_relation] * 3,
    *[_background] * 2,
    *[_total] * 1,
    *[_kind_count] * 1,
)
"""The kinds of caption, as often as they stand here."""


def _counted(count: int, noun: str, dice: Dice) -> str:
    return f"{dice.choice(words.COUNTS[count])} {noun if count == 1 else words.plural(noun)}"


def _looks(thing: Thing, mention: tuple[str, ...], dice: Dice) -> str:
    """The object without its article: adjectives and a noun."""
    names = {"size": words.SIZES, "fill": words.FILLS, "colour": words.COLOURS}
    said = [dice.choice(names[kind][getattr(thing, kind)]) for kind in mention if kind in names]
    said.append(dice.choice(words.SHAPES[thing.shape] if "shape" in mention else words.ANYTHING))
    return " ".join(said)

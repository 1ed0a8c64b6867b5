"""The concepts that vectors are read in: of a list or file, of a collection's captions, or a general list of our own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.errors import UsageError, brief
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.language.bounds import MAX_TEXT

EVERYDAY, DESCRIPTORS = "everyday", "descriptors"
"""Names of the general list, and of that of parts and attributes without the things that have them."""
_LISTS = {EVERYDAY: "the general list", DESCRIPTORS: "the list of parts and attributes"}
CAPTIONED_IMAGES = 20_000
"""Images whose captions a vocabulary is made of: the first by id, which is as good as drawn by lot."""
LEAST_IMAGES = 5
"""Images that a word of captions must be said of: fewer are misspelt, or names."""
MOST_FROM_CAPTIONS = 3_000
MOST_CONCEPTS = 50_000

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_BREAK = re.compile(r"[.,;:!?()\"]+")
_STOPS = (
    "a about above after against all along also am among an and another any are around as at away be because been before "
    "behind being below beneath beside besides between both but by can could did do does down during each either else etc "
    "even every few for from front get gets getting go goes going had has have having he her here hers him his how i if in "
    "inside into is it it's its itself just like lot lots made make makes many may me more most much must my near next no nor "
    "not of off on one onto or other others our out outside over own past per several she should so some somebody someone "
    "something still such than that that's the their theirs them then there there's these they this those through to together "
    "too toward towards two three four five under until up upon us very via was we were what when where which while who whose "
    "why will with within without would you your"
)
_STOP_WORDS = frozenset(_STOPS.split())


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Concepts in order, no two the same but for case, each in the group of the same place ("" where there are none)."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    source: str
    """What it is, for headings: "the general list", "captions", a file's name."""

    def __len__(self) -> int:
        return len(self.names)

    def known_to(self, closed: Sequence[str] | None) -> Vocabulary:
        """Return the concepts that a text model of a closed vocabulary knows; None: it takes any text.

        Raises UsageError when it knows none of them.
        """
        if closed is None:
            return self
        known = {key_of(name) for name in closed}
        kept = [pair for pair in zip(self.names, self.groups, strict=True) if key_of(pair[0]) in known]
        if not kept:
            raise UsageError(f"the text model, which knows {len(closed)} concepts, knows none of {self.source}")
        names, groups = zip(*kept, strict=True)
        return Vocabulary(names, groups, self.source)


def choose_vocabulary(
    given: str | Path | Sequence[str] | Vocabulary | None,
    searcher: Searcher,
    clip_id: str,
    closed: Sequence[str] | None,
    general: str = EVERYDAY,
) -> Vocabulary:
    """Return the vocabulary that is asked for.

    ``given`` is a file (one concept a line, ``# group`` headings), concepts with commas between them or in a list,
    ``captions`` for the words of the collection's own, ``everyday`` or ``descriptors`` for a list of this package, or None
    for what suits the model: the world of a CLIP model that knows one of its own (``clip_id``), all that a text model of a
    ``closed`` vocabulary knows, or else the ``general`` list of this package. Raises UsageError for what is no vocabulary.
    """
    if isinstance(given, Vocabulary):
        return given
    if given is None:
        return default_vocabulary(clip_id, closed, general)
    if given == CAPTIONS:
        return vocabulary_of_captions(searcher).known_to(closed)
    if isinstance(given, str) and given in _LISTS:
        return listed(given).known_to(closed)
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_file() or isinstance(given, Path) or "," not in given:
            return read_vocabulary(path)
        given = given.split(",")
    return vocabulary_of(((name, "") for name in given), "the concepts given")


def default_vocabulary(clip_id: str, closed: Sequence[str] | None, general: str = EVERYDAY) -> Vocabulary:
    """Return what suits a CLIP model and its text model; ``choose_vocabulary`` says how."""
    if closed is not None:
        return vocabulary_of(((name, "") for name in closed), "what the text model knows")
    own = concept_vocabulary(clip_id)
    if own != concept_vocabulary(""):
        return vocabulary_of(((name, "") for name in own), f"the world of {clip_id!r}")
    return listed(general)


def listed(name: str) -> Vocabulary:
    """Return a list of this package, grouped: ``everyday`` are more than 3,000 everyday concepts in English, ``descriptors``
    more than 1,500 visual parts and attributes, such as pointed ears, without the things that have them."""
    text = files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return vocabulary_of(_grouped(text.splitlines()), _LISTS[name])


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a file of one concept a line, with ``# group`` headings. Raises UsageError for what cannot be read, or is empty."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text in UTF-8"
        raise UsageError(
            f"no vocabulary can be read from {brief(str(path))} ({reason}): give a file of one concept a line, concepts "
            f"with commas between them, '{CAPTIONS}' for the words of the collection's own, '{EVERYDAY}' or '{DESCRIPTORS}'"
        ) from exc
    return vocabulary_of(_grouped(text.splitlines()), Path(path).name)


def vocabulary_of(concepts: Iterable[tuple[str, str]], source: str) -> Vocabulary:
    """Make a vocabulary of (name, group); empty names and those that were there are passed over. Raises UsageError for none."""
    kept: dict[str, tuple[str, str]] = {}
    for name, group in concepts:
        if not isinstance(name, str):
            raise UsageError(f"a concept is a text, not {brief(repr(name))}")
        if len(name) > MAX_TEXT:
            raise UsageError(
                f"a concept of {len(name)} characters is too long, at most {MAX_TEXT} are read: {brief(name)!r}"
            )
        if key := key_of(name):
            kept.setdefault(key, (" ".join(name.split()), group))
    if not kept:
        raise UsageError(f"no concept in {source}: give at least one")
    if len(kept) > MOST_CONCEPTS:
        raise UsageError(f"{len(kept)} concepts in {source} are too many: at most {MOST_CONCEPTS} are taken together")
    names, groups = zip(*kept.values(), strict=True)
    return Vocabulary(names, groups, source)


def vocabulary_of_captions(searcher: Searcher) -> Vocabulary:
    """Make a vocabulary of the words and pairs of neighbouring words that captions use for at least ``LEAST_IMAGES`` images.

    Words without meaning of their own are left out, and break pairs; so do punctuation marks. The 3,000 said of most images
    stay, in that order. Raises UsageError where captions say too little.
    """
    said: Counter[str] = Counter()
    images = 0
    for points in searcher.read(payload=(CAPTIONS,)):
        for payload in points.payloads[: CAPTIONED_IMAGES - images]:
            said.update({phrase for caption in captions_of(payload) for phrase in _phrases(caption)})
        images += len(points)
        if images >= CAPTIONED_IMAGES:
            break
    often = sorted((phrase for phrase, number in said.items() if number >= LEAST_IMAGES), key=lambda p: (-said[p], p))
    if not often:
        raise UsageError(
            f"no word stands in the captions of {LEAST_IMAGES} images: index with --captions, or give another vocabulary"
        )
    chosen = often[:MOST_FROM_CAPTIONS]
    return vocabulary_of(((name, "word pairs" if " " in name else "words") for name in chosen), "the captions")


def captions_of(payload: dict[str, Any]) -> list[str]:
    """Return an image's captions, of which there may be one, several or none."""
    found = payload.get(CAPTIONS) or []
    return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)]


def key_of(name: str) -> str:
    """Return what two names of one concept have in common: the same words, whatever their case."""
    return " ".join(name.casefold().split())


def _grouped(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    group = ""
    for line in lines:
        if line.lstrip().startswith("#"):
            group = line.strip("# \t")
        else:
            yield line, group


def _phrases(caption: str) -> Iterator[str]:
    """Yield the content words of a caption, and the pairs of them that stand next to each other."""
    for part in _BREAK.split(caption.lower()):
        former = ""
        for word in _WORD.findall(part):
            if word in _STOP_WORDS or len(word) < 2:
                former = ""
                continue
            yield word
            if former:
                yield f"{former} {word}"
            former = word

"""Which classes there are, and in which words: from a text, a file, a list or a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2c_search.errors import UsageError, brief
from t2c_search.query.language.bounds import check_texts
from t2c_search.query.planning.texts import Texts
from t2c_search.types import FloatArray

PLAIN = "plain"
PHOTO = (
    "a photo of a {}", "a picture of a {}", "a photo of the {}", "a close-up photo of a {}", "a small photo of a {}",
    "a blurry photo of a {}",
)  # fmt: skip
"""A prompt ensemble for photographs."""

GivenClasses = str | Path | Iterable[str] | Mapping[str, str | Iterable[str]]
"""Names between commas, a file, a list of names, or a mapping of names to wordings."""


@dataclass(frozen=True, slots=True)
class NamedClass:
    """A class: its name, which images are labelled with, and the wordings that its direction is the mean of."""

    name: str
    wordings: tuple[str, ...]


def read_classes(given: GivenClasses) -> tuple[NamedClass, ...]:
    """Return the classes in what is given.

    A text is a file where there is one of that name, and otherwise names with commas between. A file has one class a line,
    ``name`` or ``name: wording, wording``; empty lines, and those that begin with #, are passed over. So do the items of a list
    read. Raises UsageError for fewer than two classes, for one that comes twice, and for a file that cannot be read.
    """
    if isinstance(given, Mapping):
        classes = tuple(
            NamedClass(str(name).strip(), _clean((wordings,) if isinstance(wordings, str) else wordings))
            for name, wordings in given.items()
        )
    elif isinstance(given, Path) or (isinstance(given, str) and _is_file(given)):
        classes = tuple(map(_read_class, _lines(Path(given), "one class a line, as: ship: cargo ship, cruise ship")))
    else:
        items = given.split(",") if isinstance(given, str) else given
        classes = tuple(_read_class(str(item)) for item in items)
    _check(classes, given)
    return classes


def read_prompts(given: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return templates with ``{}`` for a class's wording; None for ``plain``, the wording as searches put it.

    What is given is ``plain``, ``photo``, a file with one template a line, or a list of templates. Raises UsageError for
    what is none of them.
    """
    if given is None or given == PLAIN:
        return None
    if given == "photo":
        return PHOTO
    if isinstance(given, str) and "{}" in given:
        templates: Sequence[str] = (given,)
    elif isinstance(given, str | Path):
        if not _is_file(str(given)):
            raise UsageError(
                f"there are no prompts {str(given)!r}: expected plain, photo, a template with {{}} or a file of them"
            )
        templates = _lines(Path(given), "one template a line, as: a photo of a {}")
    else:
        templates = tuple(given)
    for template in templates:
        if "{}" not in template:
            raise UsageError(
                f"the template {brief(template)!r} has no {{}}, where the class's name goes: a photo of a {{}}"
            )
    if not templates:
        raise UsageError("there is no template among the prompts: give one a line, as: a photo of a {}")
    return tuple(templates)


def class_rows(texts: Texts, classes: Sequence[NamedClass], templates: Sequence[str] | None) -> FloatArray:
    """Return the classes' unit rows (k, d) float32: the mean of all that a class's wordings make of the templates.

    A text model of a closed vocabulary takes the wordings as they are. Raises UsageError where it is given templates.
    """
    if templates is not None and not texts.free_text:
        raise UsageError(
            "this collection's texts are those of a closed vocabulary, which no prompt fits: leave --prompts out"
        )
    groups = [
        [
            prompt
            for wording in each.wordings
            for prompt in (
                texts.prompts(wording) if templates is None else [part.replace("{}", wording) for part in templates]
            )
        ]
        for each in classes
    ]
    return texts.means(groups)


def _read_class(text: str) -> NamedClass:
    name, colon, wordings = text.partition(":")
    return NamedClass(name.strip(), _clean(wordings.split(",")) if colon else _clean((name,)))


def _clean(wordings: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for wording in wordings if (text := str(wording).strip())))


def _check(classes: Sequence[NamedClass], given: GivenClasses) -> None:
    if isinstance(given, str) and len(classes) < 2:
        raise UsageError(
            f"{brief(given)!r} is one class, and no file: give at least two names with commas between, or a file of them"
        )
    if len(classes) < 2:
        raise UsageError(f"{len(classes)} classes were given: images are told apart by at least two")
    seen: dict[str, str] = {}
    for each in classes:
        if not each.name or not each.wordings:
            lacking = "words" if each.name else "name"
            raise UsageError(f"the class {each.name!r} has no {lacking}: write it as name: wording, wording")
        if (folded := fold(each.name)) in seen:
            raise UsageError(f"the classes {seen[folded]!r} and {each.name!r} have one name: name each once")
        seen[folded] = each.name
        check_texts([each.name, *each.wordings])


def fold(text: str) -> str:
    """Return a name without what case and blanks distinguish."""
    return " ".join(text.casefold().split())


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        return False


def _lines(path: Path, expected: str) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} cannot be read ({exc}): expected a text file in UTF-8, {expected}") from exc
    return [line for each in text.splitlines() if (line := each.strip()) and not line.startswith("#")]

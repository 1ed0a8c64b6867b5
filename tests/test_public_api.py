"""The public surface is a list: a name comes or goes only on purpose, and has its type."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import t2c_search
from t2c_search import errors

ROOT = Path(__file__).parents[1]
PUBLIC = """
Aligner AnyShift Atlas AtlasCluster Audit Bottleneck BottleneckCurve Certificate ClassFit Classified Collection ComparedModel
Comparison Contradiction Contribution CopyReport Count Counterfactual DecoderCard Description Descriptions Duplicate
Duplicates Estimate ExplainedLiteral Explanation Explanations Facets Failure Finding FitReport GroundedWord Grounding Hit
ImageKnowledge ImageMatch IndexReport Judged Knowledge Located Mined OtherAlternative Plan PlannedBranch PlannedConstraint
Prediction Predictions RealignReport RegionWord RegionWords Reliability Remark Retained RiskCoverage SavedConcept
SearchResult SeenPart Sharing Shift ShiftFinding ShiftSide ShiftedWord ShownImage StatisticsUsed Stratum TextMatch Trait View
Vocabulary Wait Word WordShare constraints copy_collection delete_collection errors export_hits filters fit fit_decoder
list_collections open_collection parse rename_collection retained shift_between unparse
"""


def test_public_names() -> None:
    raised = [name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)]
    assert set(t2c_search.__all__) == {*PUBLIC.split(), *raised} <= set(dir(t2c_search))
    for name in t2c_search.__all__:
        assert getattr(t2c_search, name).__doc__, name
    for module in (t2c_search.constraints, t2c_search.filters):
        assert set(getattr(module, "__all__", ())) <= set(dir(module))
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = t2c_search.serach


CONSUMER = """
import t2c_search as t2c
from t2c_search.constraints import And, Not, Phrase

def paths(photos: t2c.Collection) -> list[str]:
    asked = And(parts=(Phrase(text="a dog"), Not(part=Phrase(text="a person"))))
    try:
        result = photos.search(asked, where=t2c.filters.Range(field="width", gte=1024))
    except t2c.ExpressionError as refused:
        position: int | None = refused.position
        raise SystemExit(f"{refused} at {position}") from refused
    best: t2c.Hit = result[0]
    following: tuple[t2c.Hit, ...] = result[1:3]
    number: int = photos.count('"a dog" >= 2sd').count
    names: list[t2c.StoreError] = []
    return [best.path, *(hit.path for hit in following), *(hit.path for hit in photos.mine("a dog")), str(number + len(names))]
"""
PLANTED = {
    "best: t2c.Hit = result[0]": (
        "best: t2c.Hit = result[0].score",
        'expression has type "float | None", variable has type "Hit"',
    ),
    "result[1:3]": ("result[1]", 'expression has type "Hit", variable has type "tuple[Hit, ...]"'),
    "refused.position": ("refused.postion", '"ExpressionError" has no attribute "postion"'),
    "t2c.StoreError": ("t2c.StoreEror", 'Name "t2c.StoreEror" is not defined'),
    'field="width"': ("field=3", 'incompatible type "int"; expected "str"'),
}


@pytest.mark.timeout(600)
def test_a_users_type_checker_knows_the_types(tmp_path: Path) -> None:
    """By the installed package's ``py.typed``, and without a look into other packages."""
    assert files("t2c_search").joinpath("py.typed").is_file()
    (tmp_path / "right.py").write_text(CONSUMER)
    for number, (right, (wrong, _)) in enumerate(PLANTED.items()):
        assert CONSUMER.count(right) == 1
        (tmp_path / f"wrong_{number}.py").write_text(CONSUMER.replace(right, wrong))
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n" + "".join(map(_skipped, _OTHERS)))
    command = [sys.executable, "-m", "mypy", *sorted(path.name for path in tmp_path.glob("*.py"))]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    *complaints, last = done.stdout.splitlines()
    assert last.startswith(f"Found {len(PLANTED)} errors in {len(PLANTED)} files"), done.stdout + done.stderr
    for number, (_, told) in enumerate(PLANTED.values()):
        assert any(line.startswith(f"wrong_{number}.py:") and told in line for line in complaints), done.stdout


_OTHERS = (
    "torch",
    "torchvision",
    "timm",
    "open_clip",
    "qdrant_client",
    "qdrant_edge",
    "scipy",
    "pyarrow",
    "ray",
    "PIL",
)


def _skipped(module: str) -> str:
    return f"[mypy-{module}.*]\nfollow_imports = skip\n[mypy-{module}]\nfollow_imports = skip\n"


def test_neither_import_nor_help_loads_a_model_library() -> None:
    heavy = "{'torch', 'timm', 'open_clip', 'transformers', 'sentence_transformers', 'qdrant_client', 'qdrant_edge', 'scipy'}"
    script = (
        "import sys, t2c_search\n"
        "import t2c_search.constraints, t2c_search.errors, t2c_search.filters\n"
        "from t2c_search.cli import app\n"
        "sys.argv = ['t2c', '--help']\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', {heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("loaded: set()"), done.stdout[-300:]

"""The public surface is a list: a name comes or goes only on purpose."""

from __future__ import annotations

import subprocess
import sys

import t2c_search


def test_public_names() -> None:
    assert set(t2c_search.__all__) == set(t2c_search._HOMES)
    assert t2c_search.__all__ == [
        "Aligner",
        "Certificate",
        "Collection",
        "Contribution",
        "Failure",
        "FitReport",
        "Hit",
        "IndexReport",
        "SearchResult",
        "T2CError",
        "export_hits",
        "fit",
        "open_collection",
        "parse",
    ]
    for name in t2c_search.__all__:
        assert getattr(t2c_search, name).__doc__, name


def test_neither_import_nor_help_loads_a_model_library() -> None:
    heavy = "{'torch', 'timm', 'open_clip', 'transformers', 'sentence_transformers', 'qdrant_client', 'qdrant_edge', 'scipy'}"
    script = (
        "import sys, t2c_search\n"
        "from t2c_search.cli import app\n"
        "sys.argv = ['t2c', '--help']\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', {heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("loaded: set()"), done.stdout[-300:]

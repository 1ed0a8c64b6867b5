"""An audit from files to files: drawn scenes with faults, through the bundled models, the facade and the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from t2c_search.collection import Collection, open_collection
from t2c_search.concepts.audit.findings import KINDS, Audit
from t2c_search.demo.world import draw
from t2c_search.errors import UsageError
from t2c_search.export.reading.audit import write_audit
from tests.cli.conftest import run

SCENES = 60


def write_scenes(folder: Path) -> None:
    """Sixty scenes in two splits: one blurred, one dark, one empty, one of an odd size, one in both splits."""
    folder.mkdir()
    pictures = [Image.fromarray(scene.image) for scene in draw(21, SCENES)]
    pictures[1] = pictures[1].filter(ImageFilter.GaussianBlur(9))
    pictures[2] = pictures[2].point(lambda value: value // 20)
    pictures[3] = Image.new("RGB", pictures[3].size, "white")
    pictures[4] = pictures[4].resize((900, 90))
    side = pictures[5].width
    pictures[6] = pictures[5].crop((side // 40, 0, side, side - side // 40))
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:02d}.png")
        fields = {"split": ("train", "test")[number % 2], "kind": [1, 2]}
        (folder / f"{number:02d}.json").write_text(json.dumps(fields))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("audit")
    write_scenes(made / "scenes")
    with open_collection("scenes", str(made / "s.t2c"), clip="mini", device="cpu") as scenes:
        scenes.index([made / "scenes"])
    return made


@pytest.fixture
def scenes(folder: Path) -> Iterator[Collection]:
    with open_collection("scenes", str(folder / "s.t2c"), device="cpu") as opened:
        yield opened


def named(found: Audit, kind: str) -> list[str]:
    return [Path(finding.path).name for finding in found.of(kind)]


def test_each_fault_is_found_as_what_it_is(scenes: Collection) -> None:
    found = scenes.audit("split")
    assert found.images == SCENES
    assert "01.png" in named(found, "blurred")
    assert "02.png" in named(found, "dark")
    assert named(found, "empty") == ["03.png"]
    assert named(found, "odd size")[0] == "04.png"
    leak = found.of("leak")[0]
    assert {Path(leak.path).name, Path(leak.other).name} == {"05.png", "06.png"}
    assert [finding.kind for finding in found.findings] == sorted(
        (finding.kind for finding in found.findings), key=list(KINDS).index
    )
    assert found.to_arrow().num_rows == len(found.findings) == sum(found.counts.values())
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["counts"] == found.counts


def test_conditions_choose_what_is_audited(scenes: Collection) -> None:
    assert scenes.audit(where='split = "train"').images == SCENES // 2
    with pytest.raises(UsageError, match="no image to audit"):
        scenes.audit(where='split = "neither"')
    with pytest.raises(UsageError, match="there is no payload field spilt; did you mean split"):
        scenes.audit("spilt")
    with pytest.raises(UsageError, match="names no field to write"):
        scenes.audit(write="my audit")


def test_kinds_become_a_field_in_place_of_a_former_audits(scenes: Collection) -> None:
    scenes.audit("split", write="audit")
    empty = [Path(hit.path).name for hit in scenes.search(where='derived.audit = "empty"', limit=99)]
    assert empty == ["03.png"]
    assert scenes.count(where='derived.audit = "leak"').count == 1
    scenes.audit(where='name = "01.png"', write="audit")
    left = [Path(hit.path).name for hit in scenes.search(where="derived.audit EXISTS", limit=99)]
    assert left == ["01.png"]


def test_collections_without_figures_say_so_and_get_them(scenes: Collection) -> None:
    ids = [point_id for points in scenes.store.scan(payload=False) for point_id in points.ids]
    scenes.store.update_payload(ids, [{"look": None}] * len(ids))
    found = scenes.audit()
    assert not found.of("empty")
    assert any(note.startswith(f"{SCENES} of {SCENES} images were indexed without figures") for note in found.notes)
    assert named(scenes.audit(look=True), "empty") == ["03.png"]
    again = scenes.audit()
    assert named(again, "empty") == ["03.png"]
    assert not any("without figures" in note for note in again.notes)
    assert scenes.count(where="look.entropy < 1").count == 1


def test_an_audit_is_written_as_page_table_and_json(scenes: Collection, tmp_path: Path) -> None:
    found = scenes.audit("split")
    for name in ("a.html", "a.csv", "a.json"):
        write_audit(found, "Audit <of> scenes", tmp_path / name)
    page = (tmp_path / "a.html").read_text()
    assert "Audit &lt;of&gt; scenes" in page
    assert all(KINDS[kind] in page for kind in found.counts)
    assert page.count("data:image/jpeg") >= len(found.findings)
    with (tmp_path / "a.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == [finding.id for finding in found.findings]
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(json.dumps(found.to_json()))
    with pytest.raises(UsageError, match="expected a name that ends in .html, .csv or .json"):
        write_audit(found, "", tmp_path / "a.png")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    asked = ("audit", "-c", "scenes", "--store", folder / "s.t2c", "--field", "split")
    done = run(*asked, "-o", tmp_path / "a.html", "--write", "told")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{SCENES} images, ")
    assert "Empty pictures (empty): 1" in done.out and "derived.told" in done.out
    assert (tmp_path / "a.html").is_file()
    told = run(*asked, "--json").json
    assert (told["collection"], told["images"], told["counts"]["empty"]) == ("scenes", SCENES, 1)
    refused = run(*asked, "-o", tmp_path / "a.png")
    assert refused.code == 2 and "expected a name that ends in" in refused.err

"""report.json and report.html: complete, safe to open, the same facts in both."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from inference.report import page, sections
from inference.report.markup import Html, html, table, tag
from inference.report.record import json_safe
from inference.types import Flag
from tests.report_scene import report, solved_scene

NASTY = '<script>alert("x")</script>&\''


def written(folder: Path, scene=None, facts=None) -> tuple[dict, str]:
    scene = scene or solved_scene(frames=30)
    page.write_report(folder, scene.solution, scene.views, scene.footages, facts or report())
    record = json.loads((folder / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    return record, (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """Record and page of the example solution."""
    return written(tmp_path_factory.mktemp("report"))


class Reader(HTMLParser):
    """Collects what a page would load or run, and checks that its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.elements: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.loads += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def outside_links(text: str) -> list[str]:
    """What the page would fetch: attributes that load, urls in styles, addresses anywhere."""
    loads = [one for one in read(text).loads if not one.startswith("data:image/jpeg;base64,")]
    return loads + re.findall(r"https?://|url\(|@import|//[a-z]", re.sub(r"data:image/jpeg;base64,[^\"]*", "", text))


def test_the_page_fetches_nothing_and_runs_nothing(example: tuple[dict, str]) -> None:
    _, text = example
    assert outside_links(text) == []
    assert "script" not in read(text).elements
    assert text.count("data:image/jpeg;base64,") == 16  # four views at three times and the heaviest doubt


@pytest.mark.parametrize("bad", ['<img src="https://a.example/b.png">', "<style>a{background:url(x.png)}</style>"])
def test_the_search_for_outside_links_finds_one(bad: str, example: tuple[dict, str]) -> None:
    _, text = example
    assert outside_links(text.replace("</body>", bad + "</body>"))


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    scene = solved_scene(frames=12)
    views = [replace(scene.views[0], view=NASTY), *scene.views[1:]]
    first = scene.solution.rig.cameras[0]
    renamed = replace(first, intrinsics=replace(first.intrinsics, name=NASTY))
    rig = replace(scene.solution.rig, cameras=(renamed, *scene.solution.rig.cameras[1:]))
    facts = report()
    facts.take, facts.warnings, facts.seconds = NASTY, [NASTY], {NASTY: 1.0}
    facts.models = [dict.fromkeys(("name", "licence", "sha256", "provider"), NASTY)]
    record, text = written(tmp_path, replace(scene, solution=replace(scene.solution, rig=rig), views=views), facts)
    assert "script" not in read(text).elements
    assert "<script" not in text and "&lt;script&gt;" in text
    assert record["take"] == NASTY and record["views"][0]["name"] == NASTY


def test_the_record_holds_what_the_contract_names(example: tuple[dict, str]) -> None:
    record, _ = example
    assert record["counts"] | {"fps": 30.0} == record["counts"]
    assert record["counts"]["frames"] == 30 and record["counts"]["views"] == 4
    assert record["counts"]["raw_observed_share"] == 1.0
    assert record["warnings"] == report().warnings
    assert record["models"] == report().models
    assert {"python", "numpy", "onnxruntime", "sightline"} <= set(record["versions"])
    assert list(record["seconds"])[:5] == list(report().seconds) and record["seconds"]["report"] > 0
    assert record["facts"] == {"frames_detected": 400}
    for view in record["views"]:
        for layer in ("raw", "solved", "left_out"):
            assert 0 < view["reprojection_px"][layer]["median"] < 10
    (person,) = record["persons"]
    wrist = next(one for one in person["joints"] if one["name"] == "left_wrist")
    assert wrist["weak_share"] == pytest.approx(1 / 3) and wrist["observed_share"] == pytest.approx(2 / 3)
    shin = next(one for one in person["bones"] if one["name"] == "left_ankle")
    assert shin["length_m"] == pytest.approx(0.42) and 0.004 < shin["raw_spread_m"] < 0.03


def test_the_page_says_in_words_what_is_doubtful(example: tuple[dict, str]) -> None:
    _, text = example
    plain = re.sub(r"<[^>]+>", "", text)
    assert "left elbow and left wrist, 0.37–0.60 s (frames 12–19): bridged over a gap" in plain
    assert "right ankle, 0.83–0.97 s (frames 26–30): too few views see it; no estimate." in plain
    assert re.search(r"Least sure joints, [^:]*: left (elbow|wrist) \d+ mm, left (elbow|wrist) \d+ mm, ", plain)
    assert "doubtful: left elbow and left wrist" in plain
    assert "Apache-2.0" in plain and "ab" * 32 in plain


def one_view(name: str, left_out: float | None, far: float | None) -> dict:
    errors = {"left_out": {"median": left_out}, "solved": {"p95": far}}
    return {"name": name, "metres_per_pixel": 0.002, "reprojection_px": errors}


def test_views_that_stand_out_are_named_and_others_are_not() -> None:
    even = [one_view(f"cam{i}", 10.0 + i, 40.0) for i in range(4)]
    assert sections.view_hints({"views": even}) == []
    assert sections.view_hints({"views": [one_view("cam0", None, None), *even]}) == []
    (turned,) = sections.view_hints({"views": [*even[:3], one_view("cam3", 25.0, 40.0)]})
    assert turned.startswith("cam3 agrees least")
    (stranger,) = sections.view_hints({"views": [*even[:3], one_view("cam3", 12.0, 400.0)]})
    assert stranger.startswith("cam3: one keypoint in twenty is more than 0.8 m")


def test_limbs_that_a_view_mistook_are_named() -> None:
    limb = {"person": 0, "view": "cam03", "limb": "left arm", "frames": 100, "swapped_share": 0.0}
    swap = {"person": 1, "view": "cam01", "limb": "legs", "frames": 100, "swapped_share": 0.03}
    facts = {"limbs": [limb | {"disagreeing_share": 0.12}, swap | {"disagreeing_share": 0.0}]}
    assert sections.view_hints({"views": [], "facts": facts}) == [
        "cam03 disagrees on the left arm in 12 % of the frames: given little weight there.",
        "cam01 took left and right legs of person 2 for each other in 3 % of the frames: put right.",
    ]


def test_a_take_where_nothing_was_solved_still_gets_a_report(tmp_path: Path) -> None:
    scene = solved_scene(frames=12)
    gone = replace(
        scene.solution.solved,
        xyz=np.full_like(scene.solution.solved.xyz, np.nan),
        covariance=np.full_like(scene.solution.solved.covariance, np.nan),
        flag=np.full(scene.solution.solved.flag.shape, Flag.UNOBSERVED),
    )
    lost = replace(scene.solution, raw=gone, solved=gone)
    record, text = written(tmp_path, replace(scene, solution=lost))
    assert "Nothing was solved" in text
    assert record["trust"]["missing"] == 1.0
    assert record["errors"]["reprojection_px"]["solved"] == {"median": None, "p95": None, "count": 0}
    read(text)


@pytest.mark.parametrize(("frames", "people", "cameras"), [(1, 1, 4), (2, 2, 2), (12, 1, 8)])
def test_takes_of_other_sizes(frames: int, people: int, cameras: int, tmp_path: Path) -> None:
    record, text = written(tmp_path, solved_scene(frames, cameras, people))
    read(text)
    assert len(record["persons"]) == people and len(record["views"]) == cameras
    assert ("Person 2" in text) == (people > 1)


def test_a_report_is_replaced_and_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    _, text = written(tmp_path)
    assert text.startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preview.png", "report.html", "report.json"]


def test_values_that_json_cannot_hold_become_null_or_text() -> None:
    value = {1: np.float32(0.5), "a": [np.nan, np.inf, np.int64(3), np.bool_(True)], "p": Path("x"), "e": np.eye(2)}
    safe = json_safe(value)
    assert safe == {"1": 0.5, "a": [None, None, 3, True], "p": "x", "e": [[1.0, 0.0], [0.0, 1.0]]}
    json.dumps(safe, allow_nan=False)
    with pytest.raises(ValueError, match="not JSON compliant"):
        json.dumps(value["a"][:1], allow_nan=False)


def test_markup_escapes_all_but_html() -> None:
    assert tag("b", "<i>", title='"') == '<b title="&quot;">&lt;i&gt;</b>'
    assert html(Html("<i>")) == "<i>"
    assert "&lt;td&gt;" in table(("<td>",), [("a",)])

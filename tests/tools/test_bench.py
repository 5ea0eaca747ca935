"""The benchmark's own arithmetic: rows, ratios, measures, and that it says what it could not measure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.errors import DegenerateError
from inference.geometry.triangulation import linear_triangulation
from inference.types import Keypoints3D
from tests import synthetic
from tools import bench
from tools.benchmarks import desk_take, measures, no_truth, peers, real_take, scenes, speed, stations
from tools.benchmarks.peers import BUTTERWORTH, FRAMES, GCV, OPTIM
from tools.benchmarks.rows import NOT_INSTALLED, Row, Target, as_markdown, as_text, skipped


def test_a_ratio_is_ours_by_theirs_and_only_of_numbers() -> None:
    row = Row("g", "w", "mm", 3.0, {"a": 6.0, "b": NOT_INSTALLED, "c": 0.0, "d": float("nan")})
    assert row.ratios == {"a": 0.5}
    assert Row("g", "w", "mm", None, {"a": 6.0}).ratios == {}
    assert row.as_json()["others"] == {"a": 6.0, "b": NOT_INSTALLED, "c": 0.0, "d": None}


def test_the_table_shows_figures_ratios_and_why_there_is_none() -> None:
    row = Row("g", "error", "mm", 3.0, {"a": 6.0, "b": NOT_INSTALLED}, note="why")
    text = "\n".join(as_text(one, new_group=True) for one in (row, *skipped("h", "no footage")))
    assert "3 mm" in text and "a 6 (×0.5)" in text and "b: not installed" in text and "why" in text
    assert "== h ==" in text and "no footage" in text


def test_the_plain_loop_and_the_batched_dlt_agree_on_exact_points() -> None:
    scene = synthetic.make_scene(3, seed=2)
    noise = synthetic.Noise(sigma_px=1e-9, outliers=0, missing=0.1, swaps=0, stated_sigma_px=1.0)
    views = synthetic.observe(scene, noise, 3)
    looped = measures.looped_triangulation(scene.rig, views)
    assert np.nanmax(np.abs(looped - scene.xyz)) < 1e-6
    # the batched one is regularised a little: micrometres
    assert np.nanmax(np.abs(looped - linear_triangulation(scene.rig, views))) < 1e-5
    assert measures.joint_error_mm(looped, scene.xyz) < 1e-3


@pytest.mark.parametrize("nu", [float("inf"), 5.0])
def test_coverage_of_a_layer_that_says_the_truth_about_itself(nu: float) -> None:
    rng = np.random.default_rng(4)
    truth = np.zeros((400, 1, 50, 3))
    factor = np.array([[0.02, 0, 0], [0.01, 0.03, 0], [0, 0.01, 0.05]])
    error = rng.normal(size=truth.shape) @ factor.T
    if np.isfinite(nu):  # scaled so that the covariance, not the scale matrix, is factor·factorᵀ
        error *= np.sqrt((nu - 2) / nu) / np.sqrt(rng.chisquare(nu, (400, 1, 50, 1)) / nu)
    covariance = np.broadcast_to(factor @ factor.T, (*truth.shape, 3))
    names = tuple(f"j{i}" for i in range(50))
    layer = Keypoints3D(names, np.arange(400) / 60, error, covariance, np.full(truth.shape[:-1], 3), nu)
    # 20,000 independent points: a binomial sigma of at most 0.4 points
    assert measures.coverage(layer, truth) == pytest.approx([0.5, 0.9, 0.95], abs=0.015)
    boasting = Keypoints3D(names, layer.timestamps_s, error, covariance / 4, layer.flag, nu)
    assert measures.coverage(boasting, truth)[1] < 0.7


def test_scipy_and_our_fit_find_the_same_gaussian() -> None:
    truth, covariance, maps = stations._gaussians(np.random.default_rng(7))
    ours = stations.fit_gaussians(maps[:2])
    for index in (0, 1):
        found, spread = stations._scipy_fit(maps[index])
        assert found == pytest.approx(truth[index], abs=0.1)
        assert spread == pytest.approx(covariance[index], abs=0.3)
        np.testing.assert_allclose(ours.mean[index], found, atol=1e-3)
        np.testing.assert_allclose(ours.covariance[index], spread, atol=0.02)


def test_the_take_file_of_the_real_take_letterboxes_the_re_encoded_views(tmp_path: Path) -> None:
    text = real_take.write_take(tmp_path / "take.toml", Path("/data/pose2sim_single"), videos=True).read_text()
    views = text.split("[[view]]")[1:]
    assert ['fit = "letterbox"' in view for view in views] == [True, True, False, False]
    assert 'source = "/data/pose2sim_single/calibration/Calib.qca.txt"' in text
    imported = real_take.write_take(tmp_path / "t.toml", Path("/data/pose2sim_single"), videos=False).read_text()
    assert "letterbox" not in imported and imported.count('keypoint_layout = "body_25b"') == 4


def test_the_shared_take_is_read_as_written(tmp_path: Path, shared_data: Path) -> None:
    take = real_take.read_take(
        real_take.write_take(tmp_path / "take.toml", shared_data / "pose2sim_single", videos=True)
    )
    assert [view.fit for view in take.views] == ["letterbox", "letterbox", "exact", "exact"]


def test_without_footage_or_peers_the_rows_say_so(tmp_path: Path) -> None:
    nobody = peers.Peers(None)
    for rows in (real_take.from_videos(tmp_path, nobody), list(desk_take.from_videos(tmp_path, nobody))):
        (row,) = rows
        assert row.ours is None and "--shared" in row.note
    scene = synthetic.make_scene(3)
    assert set(peers.Peers(None).solve(scene.rig, synthetic.observe(scene)).values()) == {None}


def test_a_part_that_fails_leaves_its_reason_and_what_was_measured_stays(tmp_path: Path) -> None:
    def broken() -> Iterator[Row]:
        yield Row("g", "before", "s", 2.0)
        raise DegenerateError("all joints in one plane")

    path = tmp_path / "b.json"
    parts = {"good": lambda: [Row("g", "w", "s", 1.0)], "bad": broken}

    def keep(name: str, rows: list[Row], seconds: float) -> None:
        bench.write_json(path, name, rows, seconds)

    assert not bench.run(parts, ("good", "bad"), keep)
    found = json.loads(path.read_text(), parse_constant=pytest.fail)["parts"]
    assert [row["ours"] for name in ("good", "bad") for row in found[name]["rows"]] == [1.0, 2.0, None]
    assert found["bad"]["rows"][1]["note"] == "failed: DegenerateError: all joints in one plane"
    assert [one.name for one in tmp_path.iterdir()] == ["b.json"]
    assert bench.run({"good": lambda: [Row("g", "w", "s", 3.0)]}, ("good",), keep)
    again = json.loads(path.read_text())["parts"]
    assert again["good"]["rows"][0]["ours"] == 3.0 and again["bad"] == found["bad"]
    bench.write_table(tmp_path / "b.md", path, ("bad", "good"))
    table = (tmp_path / "b.md").read_text()
    assert table.index("## bad") < table.index("## good") and "| w | 3 s |" in table


def test_a_target_is_met_missed_or_not_measured() -> None:
    row = Row(
        "g", "w", "mm", 4.0, {"a": 10.0, "b": NOT_INSTALLED}, targets=(Target(0.5, "a"), Target(1, "b"), Target(3))
    )
    assert row.judged() == [("≤ 0.5× a", True), ("≤ 1× b", None), ("≤ 3", False)]
    faster = replace(row, higher_is_better=True, targets=(Target(0.5, "a"), Target(4)))
    assert faster.judged() == [("≥ 0.5× a", False), ("≥ 4", True)]
    assert replace(row, ours_where={"a": 6.0}).judged()[0] == ("≤ 0.5× a", False)
    assert "MISSED" in as_text(row, False) and "not measured" in as_markdown([row.as_json()])


def test_a_peer_that_diverged_is_not_quoted() -> None:
    theirs = [
        {OPTIM: 9.0, FRAMES: 15.0, GCV: 7.0, BUTTERWORTH: 8.0},
        {OPTIM: 50.0, FRAMES: 15.0, GCV: 9.0, BUTTERWORTH: 8.5},
        {OPTIM: float("nan"), FRAMES: 15.0, GCV: 8.0, BUTTERWORTH: 8.5},
    ]
    means, standing, note = scenes._others(theirs)
    assert means[OPTIM] == 9.0 and standing[OPTIM] == [True, False, False]
    assert means[scenes.BEST] == means[GCV] == 8.0 and means[scenes.EITHER] == 8.0
    assert "1 of 3" in note and "50 mm" in note
    assert scenes._others(theirs[1:2])[0][OPTIM] == "diverged on every seed"


def test_a_peer_that_fails_or_never_ends_gives_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = synthetic.make_scene(3)
    views = synthetic.observe(scene)
    monkeypatch.setattr(peers, "KEPT", tmp_path)
    monkeypatch.setattr(peers, "CHILD", tmp_path / "child.py")
    (tmp_path / "child.py").write_text("raise SystemExit(3)")
    mine = peers.Peers(Path(sys.executable))
    assert set(mine.solve(scene.rig, views).values()) == {None}
    assert mine.cameras(scene.rig, views) is None and np.isnan(mine.frames_per_second(scene.rig, views)).all()
    monkeypatch.setattr(peers, "TIMEOUT_S", 0.5)
    (tmp_path / "child.py").write_text("import time; time.sleep(60)")
    assert mine.cameras(scene.rig, views) is None
    (tmp_path / "child.py").write_text(
        "import sys, numpy as np; np.savez(sys.argv[2], R=np.eye(3), cameras_seconds=2.0)"
    )
    monkeypatch.setattr(peers, "TIMEOUT_S", 60)
    assert mine.cameras(scene.rig, views) is not None
    (tmp_path / "child.py").write_text("raise SystemExit(3)")
    assert mine.cameras(scene.rig, views) is None  # an answer is kept for the child that gave it alone


def test_lag_is_found_to_a_part_of_a_frame() -> None:
    scene = synthetic.make_scene(200, seed=3)
    raw = measures.layer_of(scene.xyz, scene.joint_names, scene.timestamps_s)
    for lag in (-2.0, 0.0, 0.4, 3.0):
        late = synthetic.dance(scene.timestamps_s - lag / 60, scene.joint_names, 3)[:, None]
        layer = measures.layer_of(late, scene.joint_names, scene.timestamps_s)
        assert no_truth.lag_frames(layer, raw) == pytest.approx(lag, abs=0.05)


def test_keypoints_for_the_memory_child_come_back(tmp_path: Path) -> None:
    scene = synthetic.make_scene(5)
    views = synthetic.observe(scene)
    speed.save(tmp_path / "k.npz", views)
    rig, again = speed.load(tmp_path / "k.npz")
    assert [camera.name for camera in rig.cameras] == [view.view for view in again]
    assert np.array_equal(again[2].xy, views[2].xy, equal_nan=True)


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main(["--json", str(tmp_path / "b.json"), "--only", "nonsense"])
    assert stop.value.code == 2 and "nonsense" in capsys.readouterr().err

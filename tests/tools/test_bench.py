"""The benchmark's own arithmetic: rows, ratios, measures, and that it says what it could not measure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.errors import DegenerateError
from inference.geometry.triangulation import linear_triangulation
from inference.types import Keypoints3D
from tests import synthetic
from tools import bench
from tools.benchmarks import measures, peers, real_take, stations
from tools.benchmarks.rows import NOT_INSTALLED, Row, as_text, skipped


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
    truth, maps = stations._gaussians(np.random.default_rng(7))
    for index in (0, 1):
        assert stations._scipy_fit(maps[index]) == pytest.approx(truth[index], abs=0.1)


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
    (row,) = real_take.from_videos(tmp_path)
    assert row.ours is None and "--shared" in row.note
    scene = synthetic.make_scene(3)
    assert set(peers.Peers(None).solve(scene.rig, synthetic.observe(scene)).values()) == {None}


def test_a_part_that_fails_leaves_its_reason_and_what_was_measured_stays(tmp_path: Path) -> None:
    def broken() -> Iterator[Row]:
        yield Row("g", "before", "s", 2.0)
        raise DegenerateError("all joints in one plane")

    path = tmp_path / "b.json"
    parts = {"good": lambda: [Row("g", "w", "s", 1.0)], "bad": broken}
    whole = bench.run(parts, ("good", "bad"), lambda rows, took: bench.write_json(path, rows, took))
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert not whole and set(found["seconds"]) == {"good", "bad"}
    assert [row["ours"] for row in found["rows"]] == [1.0, 2.0, None]
    assert found["rows"][2]["note"] == "failed: all joints in one plane"
    assert [one.name for one in tmp_path.iterdir()] == ["b.json"]
    assert bench.run(parts, ("good",), lambda rows, took: None)


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main(["--json", str(tmp_path / "b.json"), "--only", "nonsense"])
    assert stop.value.code == 2 and "nonsense" in capsys.readouterr().err

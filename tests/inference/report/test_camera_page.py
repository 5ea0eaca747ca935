"""The report of a calibration: its numbers are those of the cameras, its page holds what it should and nothing else."""

from __future__ import annotations

import numpy as np

from inference.calibration.fit import Fit
from inference.geometry.projection import project
from inference.report.camera_charts import coverage_chart, layout_chart
from inference.report.camera_page import build_camera_page, camera_facts
from inference.types import CameraRig
from tests.synthetic import make_scene

RIG = make_scene(frames=2, cameras=3, seed=4).rig
POINTS = np.random.default_rng(1).uniform((-0.5, -0.5, 0.2), (0.5, 0.5, 1.8), (40, 3))


def fit_of(index: int, off_px: float = 3.0) -> Fit:
    camera = RIG.cameras[index]
    seen = project(camera, POINTS)
    return Fit(camera.name, None, np.zeros(40), seen, seen + [off_px, 0.0], tuple(f"p<{n}>" for n in range(40)))


def test_numbers_are_those_of_the_cameras() -> None:
    covariance = np.zeros((18, 18))
    covariance[0, 0] = np.radians(0.3) ** 2
    first, second, _ = camera_facts(CameraRig(RIG.cameras, covariance), [fit_of(0), fit_of(1, 0.25)])
    assert (first["median_error_px"], first["p95_error_px"], first["observations"]) == (3.0, 3.0, 40)
    assert abs(second["median_error_px"] - 0.25) < 1e-9
    apart = [np.linalg.norm(RIG.cameras[0].centre - RIG.cameras[n].centre) for n in (1, 2)]
    assert abs(first["nearest_camera_m"] - min(apart)) < 1e-12
    assert abs(first["rotation_sigma_deg"] - 0.3) < 1e-9 and second["rotation_sigma_deg"] is None


def test_an_only_camera_has_no_nearest_one() -> None:
    rig = CameraRig(RIG.cameras[:1], np.zeros((6, 6)))
    rows = camera_facts(rig, [fit_of(0)])
    assert rows[0]["nearest_camera_m"] is None and rows[0]["median_error_px"] == 3.0
    page = build_camera_page({"take": "x", "gauge": "y", "cameras": rows, "warnings": []}, rig, [fit_of(0)], POINTS)
    assert "0.00 m" not in page and "nan" not in page


def test_coverage_counts_the_cells_of_the_picture() -> None:
    width, height = RIG.cameras[0].intrinsics.image_size
    u, v = np.meshgrid((np.arange(8) + 0.5) * width / 8, (np.arange(4) + 0.5) * height / 8)  # the upper half
    seen = np.column_stack([u.ravel(), v.ravel()])
    (row, *_) = camera_facts(RIG, [Fit(RIG.names[0], None, np.zeros(32), seen, seen)])
    assert row["coverage"] == 0.5


def test_the_page_escapes_names_and_shows_every_view() -> None:
    fits = [fit_of(0), fit_of(2)]
    rows = camera_facts(RIG, fits)
    record = {"take": "<b>x</b>", "gauge": "a & b", "cameras": rows, "warnings": ["<i>careful</i>"]}
    page = build_camera_page(record, RIG, fits, POINTS)
    assert "<b>x</b>" not in page and "<i>careful</i>" not in page and "p<0>" not in page
    assert "p&lt;0&gt; 3.0 px" in page and "a &amp; b" in page
    assert page.count("data:image/jpeg") == 2 and page.count('class="coverage"') == 2
    assert "http" not in page
    assert "calibrate --check" in build_camera_page({**record, "cameras": camera_facts(RIG, [])}, RIG, [], POINTS)


def test_the_charts_draw_what_is_there() -> None:
    plan = layout_chart(RIG.cameras, POINTS)
    assert plan.count('class="cone"') == 3 and plan.count('class="seen"') == 40
    assert all(f"{camera.name}, {camera.centre[2]:.2f} m up" in plan for camera in RIG.cameras)
    seen = np.array([[10.0, 10], [20, 10], [30, 10], [40, 10]])
    off = np.array([[0.4, 0], [1.9, 0], [5, 0], [np.nan, 0]])
    chart = coverage_chart((100, 50), seen, seen + off, 0.5, 20.0)
    assert [chart.count(f'class="g{grade}"') for grade in (3, 2, 1, 0)] == [1, 1, 1, 1]
    assert chart.count('class="residual"') == 3 and 'x2="18.0"' in chart  # 10 + 20 · 0.4

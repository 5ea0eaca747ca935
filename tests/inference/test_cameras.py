"""The cameras of a take: names, sizes, turned pictures, trust."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.cameras import rig_for_take, turned
from inference.config import SolveSettings
from inference.errors import CalibrationError, InputError
from inference.files.anipose_toml import write_anipose_toml
from inference.geometry.projection import project
from inference.take import CalibrationSource, Take, View
from inference.types import Camera, Intrinsics

SIZE = (640, 480)


def camera(name: str, x: float = 0.0, size: tuple[int, int] = SIZE, **lens: object) -> Camera:
    K = np.array([[700.0, 0, 310], [0, 720, 250], [0, 0, 1]])
    distortion = np.array([-0.1, 0.02, 0.003, -0.004, 0.01])
    inner = Intrinsics(name, size, K, distortion, **lens)
    R = cv2.Rodrigues(np.array([0.1, 0.2 + x, -0.3]))[0]
    return Camera(inner, R, np.array([x, 0.2, 4.0]))


def view(name: str, fit: str = "exact", size: tuple[int, int] | None = None) -> View:
    return View(name, "x.mp4", None, None, None, fit=fit, size=size)


def take(path: Path, *views: View, **source: object) -> Take:
    calibration = CalibrationSource(path, **source)
    return Take(path, "t", 1, None, 0.0, None, None, calibration, views, SolveSettings())


@pytest.fixture()
def cams(tmp_path: Path) -> Path:
    write_anipose_toml(tmp_path / "cams.toml", [camera("cam01"), camera("Käfig", 1.0), camera("cam_3", 2.0)])
    return tmp_path / "cams.toml"


def test_views_are_matched_by_name_and_poses_are_not_moved(cams: Path) -> None:
    rig, warnings = rig_for_take(take(cams, view("3"), view("Käfig"), view("cam01")), {"3": SIZE})
    assert rig.names == ("3", "Käfig", "cam01") and warnings == []
    for got, wanted in zip(rig.cameras, (camera("cam_3", 2.0), camera("Käfig", 1.0), camera("cam01")), strict=True):
        np.testing.assert_allclose(got.R, wanted.R, atol=1e-12)
        np.testing.assert_array_equal(got.t, wanted.t)
        np.testing.assert_array_equal(got.intrinsics.K, wanted.intrinsics.K)
        assert got.intrinsics.image_size == SIZE
    assert not rig.covariance.any() and rig.covariance.shape == (18, 18) and "not stated" in rig.gauge


def test_a_caliscope_number_is_found_both_ways(tmp_path: Path) -> None:
    write_anipose_toml(tmp_path / "a.toml", [camera("7"), camera("cam_8", 1.0)])
    assert rig_for_take(take(tmp_path / "a.toml", view("cam_7"), view("8")), {})[0].names == ("cam_7", "8")


def test_fit_moves_the_lens_alone(cams: Path) -> None:
    rig, _ = rig_for_take(take(cams, view("cam01", "scale"), view("Käfig")), {"cam01": (320, 240)})
    inner = rig.cameras[0].intrinsics
    np.testing.assert_allclose(inner.K, [[350, 0, 154.75], [0, 360, 124.75], [0, 0, 1]])
    assert inner.image_size == (320, 240)
    np.testing.assert_array_equal(inner.distortion, camera("cam01").intrinsics.distortion)


def test_the_size_of_a_view_without_a_video(cams: Path) -> None:
    rig, _ = rig_for_take(take(cams, view("cam01", "scale", (320, 240)), view("Käfig")), {})
    assert rig.cameras[0].intrinsics.image_size == (320, 240) and rig.cameras[1].intrinsics.image_size == SIZE


def test_sizes_that_differ_need_a_fit(cams: Path) -> None:
    with pytest.raises(InputError, match="view 'cam01': the video is 320x240.*640x480.*fit = .scale"):
        rig_for_take(take(cams, view("cam01"), view("Käfig")), {"cam01": (320, 240)})


def test_the_size_of_keypoints_is_called_so(cams: Path) -> None:
    with pytest.raises(InputError, match="view 'cam01': the size given for its keypoints is 320x240"):
        rig_for_take(take(cams, view("cam01", size=(320, 240)), view("Käfig")), {})


def test_names_that_do_not_match(cams: Path) -> None:
    with pytest.raises(
        InputError, match="view 'cam1' is not in .* which has cam01, Käfig, cam_3; the nearest is 'cam01'"
    ):
        rig_for_take(take(cams, view("cam1"), view("Käfig")), {})
    with pytest.raises(InputError, match="views '3' and 'cam_3' both mean camera 'cam_3'"):
        rig_for_take(take(cams, view("3"), view("cam_3")), {})


def test_too_few_poses(tmp_path: Path, cams: Path) -> None:
    text = cams.read_text(encoding="utf-8")
    unposed = text.replace("rotation", "other", 1)
    (tmp_path / "u.toml").write_text(unposed, encoding="utf-8")
    with pytest.raises(CalibrationError, match="view 'cam01': its camera in .* has no pose"):
        rig_for_take(take(tmp_path / "u.toml", view("cam01"), view("Käfig")), {})
    (tmp_path / "v.toml").write_text(unposed.replace("rotation", "other", 1), encoding="utf-8")
    with pytest.raises(CalibrationError, match="gives a pose to 1 cameras"):
        rig_for_take(take(tmp_path / "v.toml", view("cam_3"), view("Käfig")), {})
    with pytest.raises(CalibrationError, match="self"):
        rig_for_take(dataclasses.replace(take(cams), calibration=CalibrationSource(None)), {})


def test_lenses_from_a_second_source(tmp_path: Path, cams: Path) -> None:
    inner = Intrinsics("cam01", (320, 240), np.array([[333.0, 0, 150], [0, 333, 120], [0, 0, 1]]), np.zeros(4))
    write_anipose_toml(tmp_path / "lenses.toml", [Camera(inner, np.eye(3), np.zeros(3))])
    wanted = take(cams, view("cam01"), view("Käfig"), intrinsics=tmp_path / "lenses.toml", units="m")
    rig, warnings = rig_for_take(wanted, {"cam01": (320, 240)})
    np.testing.assert_array_equal(rig.cameras[0].intrinsics.K, inner.K)
    np.testing.assert_array_equal(rig.cameras[0].t, camera("cam01").t)
    np.testing.assert_array_equal(rig.cameras[1].intrinsics.K, camera("Käfig").intrinsics.K)
    assert warnings == [f"{tmp_path / 'lenses.toml'} has no lens of Käfig: the calibration's own is used"]
    with pytest.raises(CalibrationError, match="has no lens of any view"):
        rig_for_take(take(cams, view("cam_3"), view("Käfig"), intrinsics=tmp_path / "lenses.toml"), {})


def test_covariance_against_samples(cams: Path) -> None:
    """Rotation vector and t of 40,000 disturbed cameras; the standard error of a variance is 0.7 % of it."""
    source = {"rotation_sigma_deg": 0.5, "centre_sigma_m": 0.01}
    rig, _ = rig_for_take(take(cams, view("cam_3"), view("Käfig"), **source), {})
    assert "sigmas" in rig.gauge and not rig.covariance[:6, 6:].any()
    rng = np.random.default_rng(7)
    truth = rig.cameras[0]
    turns = rng.normal(scale=np.radians(0.5), size=(40_000, 3))
    centres = truth.centre + rng.normal(scale=0.01, size=(40_000, 3))
    samples = []
    for turn, centre in zip(turns, centres, strict=True):  # cv2.Rodrigues takes one at a time
        samples.append(np.concatenate([turn, -(cv2.Rodrigues(turn)[0] @ truth.R) @ centre - truth.t]))
    sigma = np.sqrt(np.diag(rig.covariance)[:6])
    difference = (np.cov(np.array(samples).T) - rig.covariance[:6, :6]) / np.outer(sigma, sigma)
    assert np.abs(difference).max() < 5 * 0.007


@pytest.mark.parametrize("quarters", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
def test_a_turned_camera_sees_the_turned_picture(quarters: int, count: int) -> None:
    rng = np.random.default_rng(3)
    before = camera("a")
    distortion = np.concatenate([rng.normal(scale=0.01, size=min(count, 12)), np.zeros(max(count - 12, 0))])
    before = Camera(dataclasses.replace(before.intrinsics, distortion=distortion), before.R, before.t)
    after = turned(before, quarters)
    points = rng.uniform(-0.8, 0.8, (50, 3))
    pixels = project(before, points)
    width, height = SIZE
    for _ in range(quarters % 4):
        pixels = np.column_stack([height - 1 - pixels[:, 1], pixels[:, 0]])
        width, height = height, width
    assert after.intrinsics.image_size == (width, height)
    np.testing.assert_allclose(project(after, points), pixels, atol=1e-8)
    np.testing.assert_allclose(after.centre, before.centre, atol=1e-12)


def test_fisheye_turns_and_what_cannot() -> None:
    inner = Intrinsics("f", SIZE, camera("f").intrinsics.K, np.array([0.1, 0.02, 0.0, 0.01]), "fisheye")
    before = Camera(inner, camera("f").R, camera("f").t)
    point = np.array([0.2, 0.1, 0.3])
    u, v = project(before, point)
    np.testing.assert_allclose(project(turned(before, 1), point), [480 - 1 - v, u], atol=1e-9)
    skew = np.array(inner.K)
    skew[0, 1] = 1.0
    with pytest.raises(CalibrationError, match="skew"):
        turned(Camera(dataclasses.replace(inner, K=skew), before.R, before.t), 1)
    tilted = Intrinsics("f", SIZE, inner.K, np.array([0.0] * 12 + [0.1, 0.0]))
    with pytest.raises(CalibrationError, match="tilted"):
        turned(Camera(tilted, before.R, before.t), 1)


def test_a_rotation_count_is_used_where_the_video_is_upright(tmp_path: Path) -> None:
    """The calibration is of the picture as stored (640x480); a video of 480x640 was turned, clockwise by the count."""
    write_anipose_toml(tmp_path / "c.toml", [camera("a"), camera("b", 1.0)])
    text = (tmp_path / "c.toml").read_text().replace("[cam_0]", "[cam_0]\nrotation_count = 1")
    (tmp_path / "c.toml").write_text(text)
    wanted = take(tmp_path / "c.toml", view("a"), view("b"))
    stored, _ = rig_for_take(wanted, {"a": SIZE, "b": SIZE})
    np.testing.assert_array_equal(stored.cameras[0].intrinsics.K, camera("a").intrinsics.K)
    upright, _ = rig_for_take(wanted, {"a": (480, 640), "b": SIZE})
    np.testing.assert_allclose(upright.cameras[0].R, turned(camera("a"), 1).R, atol=1e-12)
    np.testing.assert_allclose(upright.cameras[0].intrinsics.K, turned(camera("a"), 1).intrinsics.K)
    with pytest.raises(InputError, match="view 'b': .*is turned by 90 degrees"):
        rig_for_take(wanted, {"a": SIZE, "b": (480, 640)})


def test_real_take_needs_letterbox(shared_data: Path) -> None:
    """Cams 1-2 decode to 1080 px width, the calibration says 1088: K' = 0.9926 K, cy' += 7.06."""
    path = shared_data / "pose2sim_single" / "calibration" / "Calib.qca.txt"
    sizes = {"cam01": (1080, 1920), "cam02": (1080, 1920), "cam03": (1088, 1920), "cam04": (1088, 1920)}
    for name in ("cam01", "cam02"):
        with pytest.raises(InputError, match=f"view '{name}': the video is 1080x1920.*1088x1920"):
            rig_for_take(take(path, view(name), view("cam03")), sizes)
    rig, _ = rig_for_take(take(path, view("cam01", "letterbox"), view("cam03")), sizes)
    exact, _ = rig_for_take(take(path, view("cam01"), view("cam03")), {})
    K, before = rig.cameras[0].intrinsics.K, exact.cameras[0].intrinsics.K
    assert K[0, 0] / before[0, 0] == pytest.approx(1080 / 1088, abs=1e-9)
    assert K[1, 2] == pytest.approx(1080 / 1088 * (before[1, 2] + 0.5) - 0.5 + 7.0588, abs=1e-3)
    np.testing.assert_array_equal(rig.cameras[1].intrinsics.K, exact.cameras[1].intrinsics.K)

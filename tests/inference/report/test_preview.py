"""The contact sheet: its size, its order, and what stands in when there is no picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.geometry.camera_path import camera_at
from inference.geometry.rotation import exp
from inference.report import preview
from inference.types import CameraPath, Footage
from tests.report_scene import solved_scene


def image_sequence(folder: Path, name: str, colours: list[int], fps: float = 30.0) -> Footage:
    """A tiny image sequence whose frames are grey values."""
    files = []
    for index, grey in enumerate(colours):
        files.append(folder / f"{name}_{index:03d}.png")
        cv2.imwrite(str(files[-1]), np.full((1080, 1920, 3), grey, dtype=np.uint8))
    return Footage(name, tuple(files), (1920, 1080), fps, np.arange(len(colours)) / fps)


@pytest.mark.parametrize("cameras", [2, 4, 8])
def test_the_sheet_is_wide_enough_for_any_number_of_views(cameras: int, tmp_path: Path) -> None:
    preview.write_preview(tmp_path / "preview.png", preview.draw_gallery(solved_scene(frames=12, cameras=cameras)))
    image = cv2.imread(str(tmp_path / "preview.png"))
    assert image.shape[1] == preview.SHEET_WIDTH >= 1200
    assert image.shape[0] >= 400
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]


def test_the_picture_of_the_right_time_lies_under_the_skeleton(tmp_path: Path) -> None:
    scene = solved_scene(frames=12)
    footage = image_sequence(tmp_path, "cam02", [10, 60, 110, 160])
    shifted = replace(scene.solution, offset_s=np.array([0, 2 / 30, 0, 0]))  # its first frame is the take's third
    scene = replace(scene, solution=shifted, footages={"cam02": footage})
    corner = lambda view, frame: int(preview.view_picture(scene, view, frame, 640).image[-1, -1, 0])  # noqa: E731
    assert corner(1, 2) == 10 and corner(1, 4) == 110
    assert corner(1, 1) == preview.PAPER  # before its first frame
    assert corner(1, 8) == preview.PAPER  # after its last
    assert corner(0, 4) == preview.PAPER  # another view, without footage


def test_a_gallery_holds_every_view_at_its_times_in_order() -> None:
    gallery = preview.draw_gallery(solved_scene(frames=12, cameras=2), also=[1])
    assert gallery.spread == (2, 6, 10) and gallery.frames == (1, 2, 6, 10)
    assert set(gallery.pictures) == {(v, frame) for v in (0, 1) for frame in (1, 2, 6, 10)}
    assert all(
        picture.shape[0] == pytest.approx(preview.PICTURE_HEIGHT, abs=2) for picture in gallery.pictures.values()
    )


def test_drift_is_counted(tmp_path: Path) -> None:
    scene = solved_scene(frames=12)
    footage = image_sequence(tmp_path, "cam01", [10, 60, 110, 160, 210])
    slow = replace(scene.solution, drift_ppm=np.array([1e6, 0, 0, 0]))  # absurd on purpose: one second lasts two
    scene = replace(scene, solution=slow, footages={"cam01": footage})
    assert int(preview.view_picture(scene, 0, 6, 640).image[-1, -1, 0]) == 160


def test_a_picture_that_cannot_be_decoded_does_not_cost_the_report(tmp_path: Path) -> None:
    footage = image_sequence(tmp_path, "cam01", [200, 200])
    footage.files[1].write_bytes(b"no picture")
    scene = replace(solved_scene(frames=12), footages={"cam01": footage})
    assert int(preview.view_picture(scene, 0, 0, 640).image[-1, -1, 0]) == 200
    assert int(preview.view_picture(scene, 0, 1, 640).image[-1, -1, 0]) == preview.PAPER


def test_times_are_spread_over_the_take() -> None:
    scene = solved_scene(frames=90)
    assert preview.spread_times(scene, 3) == [15, 45, 75]
    assert preview.spread_times(solved_scene(frames=12), 40) == list(range(12))


def test_bones_are_found_by_name_whatever_the_order_of_the_joints() -> None:
    scene = solved_scene(frames=12)
    names = scene.solution.solved.joint_names
    pairs = {(names[a], names[b]) for a, b in scene.bones}
    assert ("left_knee", "left_ankle") in pairs and len(pairs) == len(names) - 1
    order = list(reversed(range(len(names))))
    solved = scene.solution.solved
    turned = replace(
        solved,
        joint_names=tuple(names[j] for j in order),
        xyz=solved.xyz[:, :, order],
        covariance=solved.covariance[:, :, order],
        flag=solved.flag[:, :, order],
    )
    other = replace(scene, solution=replace(scene.solution, solved=turned))
    assert {(turned.joint_names[a], turned.joint_names[b]) for a, b in other.bones} == pairs


def test_jpeg_keeps_the_colours() -> None:
    red = np.zeros((40, 60, 3), dtype=np.uint8)
    red[..., 0] = 220
    back = cv2.imdecode(np.frombuffer(preview.jpeg(red), np.uint8), cv2.IMREAD_COLOR)
    assert back[20, 30, 2] > 200 and back[20, 30, 0] < 20


def panned(frames: int = 12) -> preview.Scene:
    """Scene whose first camera looks up by half a degree more each frame, 5.5 in all, and is told so."""
    scene = solved_scene(frames=frames)
    camera, times = scene.solution.rig.cameras[0], scene.solution.solved.timestamps_s
    turn = exp(np.radians(np.arange(frames) * 0.5)[:, None] * np.array([1.0, 0, 0]))
    path = CameraPath(times, turn @ camera.R, np.einsum("tij,j->ti", turn, camera.t))
    rig = replace(scene.solution.rig, cameras=(replace(camera, path=path), *scene.solution.rig.cameras[1:]))
    return replace(scene, solution=replace(scene.solution, rig=rig))


def test_a_camera_that_moves_draws_and_frames_the_subject_from_where_it_stands() -> None:
    scene, frame = panned(), 11
    camera = scene.solution.rig.cameras[0]
    then = camera_at(camera, scene.solution.solved.timestamps_s[frame])
    still = replace(scene.solution.rig, cameras=(then, *scene.solution.rig.cameras[1:]))
    standing = replace(scene, solution=replace(scene.solution, rig=still))
    drawn, right = (preview.view_picture(each, 0, frame, 640).image for each in (scene, standing))
    assert np.array_equal(drawn, right)
    assert preview.subject_windows(scene, [frame])[0] == pytest.approx(
        preview.subject_windows(standing, [frame])[0], abs=1
    )
    first = replace(still, cameras=(replace(camera, path=None), *still.cameras[1:]))
    wrong = replace(scene, solution=replace(scene.solution, rig=first))
    assert not np.array_equal(preview.view_picture(wrong, 0, frame, 640).image, right)
    assert abs(preview.subject_windows(wrong, [frame])[0][1] - preview.subject_windows(standing, [frame])[0][1]) > 20

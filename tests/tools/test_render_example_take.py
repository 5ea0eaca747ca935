"""The example take that is shipped: its files fit each other, and its truth lies on the person in the pixels."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.cameras import rig_for_take
from inference.footage import open_footage, read_frames
from inference.geometry.projection import project
from inference.take import read_take
from inference.types import CameraRig, Footage
from tools import example_take_body, example_take_scene
from tools.compare_truth import Truth, read_truth
from tools.render_example_take import VIEWS, View, composite, through_lens
from tools.render_example_take import project as project_view

FOLDER = Path(__file__).resolve().parents[2] / "addon" / "example_take"
ON_THE_BODY = ("nose", "left_hip", "right_hip", "left_shoulder", "right_shoulder", "left_knee", "right_knee")


@pytest.fixture(scope="module")
def take() -> tuple[CameraRig, list[Footage], Truth]:
    read = read_take(FOLDER / "take.toml")
    footages = [open_footage(view.name, str(view.video), view.fps) for view in read.views]
    rig, warnings = rig_for_take(read, {footage.name: footage.image_size for footage in footages})
    assert warnings == []
    return rig, footages, read_truth(FOLDER / "truth.npz")


def test_four_views_of_two_seconds_or_more(take: tuple[CameraRig, list[Footage], Truth]) -> None:
    rig, footages, truth = take
    assert rig.names == tuple(view.name for view in VIEWS)
    assert len(truth.timestamps_s) >= 61 and np.isfinite(truth.xyz).all()
    for footage in footages:
        np.testing.assert_allclose(footage.timestamps_s, truth.timestamps_s, atol=1e-3)
    assert sum(footage.image_size[1] > footage.image_size[0] for footage in footages) == 1, "one view is portrait"


def test_the_take_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 4_000_000


def test_calibration_is_the_renderers_own(take: tuple[CameraRig, list[Footage], Truth]) -> None:
    rig, _, truth = take
    for camera, view in zip(rig.cameras, VIEWS, strict=True):
        assert camera.intrinsics.image_size == view.size
        np.testing.assert_allclose(project(camera, truth.xyz), project_view(view, truth.xyz), atol=1e-6)


def test_the_whole_person_stays_in_every_picture(take: tuple[CameraRig, list[Footage], Truth]) -> None:
    rig, footages, truth = take
    for camera, footage in zip(rig.cameras, footages, strict=True):
        px = project(camera, truth.xyz)
        assert px.min() > 8 and (px < np.array(footage.image_size) - 8).all(), camera.name


def person_share(rig: CameraRig, footages: list[Footage], truth: Truth, shift: float) -> float:
    """Share of joints, moved by a shift along X, whose pixel differs from the still room (median over time)."""
    chosen = [truth.joint_names.index(name) for name in ON_THE_BODY]
    hits = []
    for camera, footage in zip(rig.cameras, footages, strict=True):
        steps = dict(read_frames(footage, 0, None, 6))
        room = np.median(np.stack(list(steps.values())), axis=0)
        for index, image in steps.items():
            change = cv2.GaussianBlur(np.abs(image - room).max(axis=-1), (0, 0), 2)
            u, v = np.round(project(camera, truth.xyz[index, chosen] + [shift, 0, 0])).astype(int).T
            hits.append(change[v, u] > 14)
    return float(np.mean(hits))


def test_truth_lies_on_the_person_in_the_pixels(take: tuple[CameraRig, list[Footage], Truth]) -> None:
    """Where the person stands still for long the median holds some of it, so not every joint differs."""
    assert person_share(*take, shift=0.0) > 0.85
    assert person_share(*take, shift=0.6) < 0.45


def test_feet_stand_on_the_floor_and_the_body_is_upright(take: tuple[CameraRig, list[Footage], Truth]) -> None:
    truth = take[2]
    height = {name: truth.xyz[:, j, 2] for j, name in enumerate(truth.joint_names)}
    assert 0 < min(height["left_heel"].min(), height["right_heel"].min()) < 0.08
    standing = np.minimum(height["left_heel"], height["right_heel"])
    assert np.ptp(standing) < 0.01, "one heel always stands"
    assert (height["nose"] > 1.4).all()


def test_bones_keep_their_length(take: tuple[CameraRig, list[Footage], Truth]) -> None:
    """The joints are means of skin vertices, so a bent limb shortens a bone a little."""
    truth = take[2]
    joint = {name: truth.xyz[:, j] for j, name in enumerate(truth.joint_names)}
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("elbow", "wrist")):
        for side in ("left", "right"):
            length = np.linalg.norm(joint[f"{side}_{start}"] - joint[f"{side}_{end}"], axis=1)
            assert np.ptp(length) < 0.025, (side, start, end)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_lens_moves_a_dot_to_where_the_calibration_says(view: View) -> None:
    """A Gaussian dot in the pinhole picture lands within 0.05 px of its distorted place, corners included."""
    R, t = view.cam_from_world
    for wanted in ((30.0, 30.0), (view.size[0] - 40.0, view.size[1] * 0.6)):
        ray = np.linalg.solve(view.K, [*wanted, 1.0])
        point = R.T @ (3 * ray - t)
        pinhole = view.pinhole_K @ ray
        width, height = view.pinhole_size
        u, v = np.meshgrid(np.arange(width), np.arange(height))
        dot = np.exp(-((u - pinhole[0]) ** 2 + (v - pinhole[1]) ** 2) / 18)
        picture = through_lens(view, np.repeat((255 * dot)[..., None], 3, axis=2).astype(np.float32))[..., 0]
        rows, columns = np.indices(picture.shape)
        centroid = np.array([(columns * picture).sum(), (rows * picture).sum()]) / picture.sum()
        np.testing.assert_allclose(centroid, project_view(view, point), atol=0.05)


def test_composite_keeps_person_and_shadow_and_drops_noise() -> None:
    generator = np.random.default_rng(2)
    plate = np.full((120, 120, 3), 200.0)
    picture = 0.8 * plate + generator.normal(0, 12, plate.shape)
    person, inside = np.zeros((120, 120), np.uint8), np.zeros((120, 120), np.float32)
    person[50:70, 50:70], inside[10:110, 10:110] = 1, 1
    picture[50:70, 50:70] = 30
    result = composite(picture.clip(0, 255).astype(np.uint8), plate.astype(np.uint8), person, inside).astype(float)
    assert abs(result[60, 60] - 30).max() <= 1
    assert abs(result[40, 35:85].mean() - 160) < 4 and result[40, 35:85].std() < 4, "shadow without noise"
    assert (result[:8] == 200).all(), "untouched outside of the region"


def test_body_and_scene_name_the_same_materials() -> None:
    assert example_take_body.MATERIALS == example_take_scene.MATERIALS

"""The numbers behind the overlays: colours, the band, the worst frames, the lights of the cameras."""

from dataclasses import replace

import numpy as np
import pytest
from sightline.addon.host.uncertainty import (
    MISSING,
    badness,
    band_doubt,
    band_sigma,
    camera_lights,
    colours,
    keypoint_residuals,
    pooled,
    residual_colours,
    uncertainty_of,
    worst_frame,
    worst_joint,
)
from sightline.inference.geometry.projection import project
from sightline.inference.types import Keypoints2D

NAN = float("nan")


def test_colours_by_hand():
    """Green up to 1 cm, amber at 3.2 cm, red from 8 cm on; half way in the logarithm, half way in the colour."""
    got = colours(np.array([0.001, 0.01, 0.032, 0.08, 3.0, NAN]))
    assert got.dtype == np.float32
    assert np.allclose(got[0], got[1]) and np.allclose(got[3], got[4])
    assert got[1, 1] > got[1, 0] and got[3, 0] > 2 * got[3, 1]
    assert np.allclose(colours(np.array([np.sqrt(0.01 * 0.032)]))[0], (got[1] + got[2]) / 2, atol=1e-6)
    assert np.allclose(got[5], MISSING)


def test_a_single_bad_frame_stays_visible_from_afar():
    values = np.array([1.0, 2.0, 9.0, NAN, 3.0])
    assert pooled(values, 1) is values
    assert pooled(values, 2).tolist() == [2, 9, 3]
    assert pooled(values, 8).tolist() == [9]


def test_the_band_of_a_known_solution(make_solution):
    """The joint that is never seen does not count; the one that is lost in frames 4 to 6 leaves the others."""
    solution = make_solution()
    shown = uncertainty_of(solution)
    assert shown.usable.sum() == 7 and not shown.usable[0, 7]
    seen = solution.solved.observed[:, 0, :7]
    worst = np.full(seen.shape, NAN)
    worst[seen] = np.sqrt(np.linalg.eigvalsh(solution.solved.covariance[:, 0, :7][seen])[:, -1])
    assert np.allclose(band_sigma(shown, middle=False), np.nanmax(worst, axis=1))
    assert np.allclose(band_sigma(shown, middle=True), np.nanmedian(worst, axis=1))


def test_spans_of_doubt_are_told_apart(make_solution):
    """The same solution a third as unsure: the lost joint stands in a span of doubt, and nothing else does."""
    solution = make_solution(T=40)
    sure = replace(solution.solved, covariance=solution.solved.covariance / 9)
    weak = np.array(sure.flag)
    weak[20:30, 0, 5] = 2
    unsure = np.array(sure.covariance)
    unsure[20:30, 0, 5] += np.eye(3) * 0.01
    shown = uncertainty_of(replace(solution, solved=replace(sure, flag=weak, covariance=unsure)))
    assert {doubt.joints for doubt in shown.doubts} == {("left_wrist",)}
    assert band_doubt(shown).tolist() == [0] * 4 + [2] * 3 + [0] * 13 + [1] * 10 + [0] * 10


def test_the_worst_frames_come_in_turn_and_apart(make_solution):
    shown = uncertainty_of(make_solution())
    bad = badness(shown)
    first = worst_frame(bad, [], 2)
    assert first in (4, 5, 6) and worst_joint(shown, first) == (0, 5)
    second = worst_frame(bad, [first], 2)
    assert abs(second - first) > 2
    assert worst_frame(bad, [2, 7, 10], 5) is None
    assert worst_frame(np.array([1.0, 3.0, 2.0]), [1], 0) == 2


def test_bones_end_at_their_joints(make_solution):
    solution = make_solution()
    shown = uncertainty_of(solution)
    names = solution.solved.joint_names
    bone = shown.bone_names.index("left_forearm")
    assert [names[j] for j in shown.bone_ends[bone]] == ["left_elbow", "left_wrist"]


def test_residuals_by_name(make_solution):
    """Keypoints in another order, one of them unknown to the skeleton."""
    solution = make_solution()
    shown = uncertainty_of(solution)
    views = []
    for camera in solution.rig.cameras:
        xy = project(camera, solution.solved.xyz[:, :, [5, 0]]) + [3.0, 4.0]
        xy = np.concatenate([xy, np.full_like(xy[:, :, :1], 9.0)], axis=2)
        seen = np.isfinite(xy).all(axis=-1)
        covariance = np.where(seen[..., None, None], np.eye(2), np.nan)
        names = ("left_wrist", "pelvis", "hat")
        views.append(Keypoints2D(camera.name, names, solution.solved.timestamps_s, xy, covariance, seen * 1.0))
    got = keypoint_residuals(shown, views)
    assert np.allclose(got[:, :, 0, 1], 5.0) and np.isnan(got[..., 2]).all()
    assert np.isnan(got[:, 4:7, 0, 0]).all() and np.allclose(got[:, :4, 0, 0], 5.0)


def test_residuals_share_the_limits_of_the_lights():
    green, amber, red = residual_colours(np.array([0.002, 0.0127, 0.04]))[:, :3]
    assert green[1] > green[0] and amber[0] > 0.9 and 0.7 < amber[1] < 0.8 and red[1] < 0.3


def view(name, left_out, solved=2.0, size=(640, 480)):
    return {
        "name": name,
        "size": size,
        "reprojection_px": {"left_out": {"median": left_out}, "solved": {"median": solved}},
    }


@pytest.mark.parametrize(
    ("px", "colour", "word"),
    [
        (4.0, "green", "agrees"),  # 0.5 % of 800 px
        (7.0, "amber", "usable"),  # 0.9 %, 1.75 times the others
        (9.0, "amber", "2.2 times the others"),
        (17.0, "red", "does not fit"),  # 2.1 %
        (None, "green", "agrees"),  # of the solved joints
    ],
)
def test_lights_by_hand(px, colour, word):
    light = camera_lights([view("a", px), view("b", 4.0), view("c", 3.0), view("d", 5.0)])[0]
    assert (light.view, light.colour) == ("a", colour) and word in light.sentence


def test_lights_are_relative_to_the_others_too():
    far = [view("a", 6.0), view("b", 1.0), view("c", 1.0)]
    assert [light.colour for light in camera_lights(far)] == ["red", "green", "green"]
    fine = [view("a", 2.0), view("b", 0.3), view("c", 0.3)]  # 0.25 %: six times the others, and still well
    assert [light.colour for light in camera_lights(fine)] == ["green"] * 3


def test_a_view_without_keypoints_is_grey():
    light = camera_lights([view("a", None, None), view("b", 4.0)])[0]
    assert light.colour == "grey" and "No keypoint" in light.sentence


def test_an_only_camera_is_judged_by_none():
    (light,) = camera_lights([view("a", None, 4.0)])
    assert light.colour == "grey" and "only camera" in light.sentence

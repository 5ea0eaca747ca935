"""Tracks on the take's clock, detections linked, layouts brought together."""

import numpy as np
import pytest

from inference.keypoints import link_detections, on_one_layout, resample
from inference.types import Keypoints2D

BODY = np.array([[0.0, 0], [-20, 30], [20, 30], [0, 80], [-10, 160], [10, 160]])
NAMES = ("nose", "left_shoulder", "right_shoulder", "pelvis", "left_ankle", "right_ankle")


def tracks(xy: np.ndarray, times: np.ndarray, names: tuple[str, ...] = NAMES) -> Keypoints2D:
    seen = np.isfinite(xy).all(axis=-1)
    covariance = np.where(seen[..., None, None], 4 * np.eye(2), np.nan)
    return Keypoints2D("cam", names, times, xy, covariance, np.where(seen, 0.9, 0.0))


def walk(times: np.ndarray, speed: float = 100.0, start: float = 0.0) -> np.ndarray:
    """(T, J, 2) a body that moves to the right, px."""
    return BODY + np.stack([start + speed * times, np.zeros_like(times)], axis=-1)[:, None]


def test_identical_times_pass_through_exactly() -> None:
    times = np.arange(10) / 60
    source = tracks(walk(times)[:, None], times)
    result = resample(source, times)
    np.testing.assert_array_equal(result.xy, source.xy)
    np.testing.assert_array_equal(result.covariance, source.covariance)
    np.testing.assert_array_equal(result.score, source.score)


def test_a_steady_walk_is_interpolated_exactly_at_any_rate_and_offset() -> None:
    times = np.arange(31) / 30
    wanted = np.arange(10, 50) / 60
    result = resample(tracks(walk(times)[:, None], times), wanted, offset_s=0.013)
    np.testing.assert_allclose(result.xy[:, 0], walk(wanted - 0.013), atol=1e-9)
    np.testing.assert_allclose(result.covariance, np.broadcast_to(4 * np.eye(2), result.covariance.shape))


def test_a_drifting_clock_is_stretched() -> None:
    """100,000 ppm: the view's second lasts 1.1 s, so at 1.1 s + offset it shows its own second 1."""
    times = np.arange(61) / 30
    wanted = np.array([0.2, 0.2 + 1.1, 0.2 + 1.65])
    result = resample(tracks(walk(times)[:, None], times), wanted, offset_s=0.2, drift_ppm=1e5)
    np.testing.assert_allclose(result.xy[:, 0], walk(np.array([0.0, 1.0, 1.5])), atol=1e-9)


def test_nothing_is_bridged_over_missing_frames() -> None:
    times = np.arange(10) / 30
    xy = walk(times)[:, None].copy()
    xy[4, 0, 2] = np.nan
    result = resample(tracks(xy, times), np.arange(19) / 60)
    assert not result.observed[7:10, 0, 2].any()
    assert result.observed[[6, 10], 0, 2].all()
    assert result.observed[:, 0, 1].all()


def test_nothing_is_bridged_over_a_hole_in_the_time_stamps() -> None:
    times = np.array([0, 1, 2, 3, 8, 9, 10]) / 30
    result = resample(tracks(walk(times)[:, None], times), np.array([5, 6]) / 30)
    assert not result.observed.any()


def test_nothing_is_extrapolated_but_rounding_of_time_stamps_is_forgiven() -> None:
    times = np.arange(10) / 30
    result = resample(tracks(walk(times)[:, None], times), np.array([-0.2 / 30, 9.2 / 30, 9.4 / 30, 1.0]))
    assert result.observed[:, 0, 0].tolist() == [True, True, False, False]


def test_one_frame_and_no_slot_are_accepted() -> None:
    assert resample(tracks(walk(np.zeros(1))[:, None], np.zeros(1)), np.array([0.0, 1.0])).observed.sum() == 6
    empty = tracks(np.zeros((5, 0, 6, 2)), np.arange(5.0))
    assert resample(empty, np.arange(5.0)).xy.shape == (5, 0, 6, 2)


def test_two_people_in_shuffled_slots_become_two_tracks() -> None:
    times = np.arange(60) / 30
    people = np.stack([walk(times), walk(times, speed=-100.0, start=400.0)], axis=1)
    order = np.random.default_rng(1).integers(0, 2, 60)
    shuffled = np.where(order[:, None, None, None].astype(bool), people[:, ::-1], people)
    linked = link_detections(tracks(shuffled, times))
    assert linked.xy.shape[1] == 2
    paths = linked.xy[:, :, 0, 0]
    expected = people[:, :, 0, 0] if paths[0, 0] < 200 else people[:, ::-1, 0, 0]
    apart = np.abs(people[:, 0, 0, 0] - people[:, 1, 0, 0]) > 60  # where they overlap the slots may meet
    np.testing.assert_allclose(paths[apart][:20], expected[apart][:20])


def test_a_false_alarm_of_two_frames_is_dropped_and_a_long_absence_starts_a_new_track() -> None:
    times = np.arange(60) / 30
    xy = np.full((60, 2, 6, 2), np.nan)
    xy[:20, 0] = walk(times)[:20]
    xy[50:, 0] = walk(times)[50:]
    xy[5:7, 1] = walk(times)[5:7] + 1000
    linked = link_detections(tracks(xy, times))
    assert [int(count) for count in linked.observed.any(axis=-1).sum(axis=0)] == [20, 10]


def test_layouts_are_brought_together_by_place() -> None:
    times = np.arange(2.0)
    first = tracks(np.ones((2, 1, 2, 2)), times, ("nose", "thorax"))
    second = tracks(np.full((2, 1, 2, 2), 7.0), times, ("neck", "tail"))
    one, two = on_one_layout([first, second])
    assert one.joint_names == two.joint_names == ("nose", "thorax", "tail")
    assert one.observed[0, 0].tolist() == [True, True, False]
    assert two.observed[0, 0].tolist() == [False, True, True]
    assert two.xy[0, 0, 1, 0] == 7


def test_equal_layouts_stay_the_same_objects() -> None:
    view = tracks(np.ones((2, 1, 6, 2)), np.arange(2.0))
    assert on_one_layout([view, view])[1] is view


def test_wrong_times_are_refused() -> None:
    with pytest.raises(ValueError, match="timestamps_s"):
        resample(tracks(np.ones((2, 1, 6, 2)), np.arange(2.0)), np.zeros((2, 1)))

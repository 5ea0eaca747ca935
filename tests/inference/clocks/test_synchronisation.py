"""Views put in step by the motion, on clocks known exactly."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from inference.clocks.synchronisation import Synchronisation, contradicted_offsets, synchronise
from inference.errors import DegenerateError
from inference.layouts import layout
from inference.types import CameraRig, Keypoints2D
from tests.synthetic import BASE, SCENES, Noise, Scene, circle_rig, dance, observe

NAMES = layout("coco_17").joint_names


def recording(
    seconds: float,
    clocks: Sequence[tuple[float, float]],
    rates: Sequence[float] = (60.0,),
    noise: Noise = BASE,
    seed: int = 1,
    people: int = 1,
    still: bool = False,
) -> tuple[CameraRig, list[Keypoints2D]]:
    """One view per clock (offset_s, drift_ppm), each seeing the dance at its own frames' true times."""
    rig = circle_rig(len(clocks))
    views = []
    for number, (offset_s, drift_ppm) in enumerate(clocks):
        rate = rates[number % len(rates)]
        own = np.arange(round(seconds * rate)) / rate
        true = np.full_like(own, 5.0) if still else own * (1 + 1e-6 * drift_ppm) + offset_s + 100.0
        xyz = np.stack([dance(true, NAMES, seed + 1000 * p) + [1.0 * p, 0, 0] for p in range(people)], axis=1)
        alone = CameraRig((rig.cameras[number],), np.zeros((6, 6)))
        views += observe(Scene(alone, NAMES, own, xyz), noise, seed=100 * seed + number)
    return rig, views


def middle_error(found: Synchronisation, view: int, clock: tuple[float, float], seconds: float) -> float:
    """Error of the found clock half way through the clip, s."""
    return float(found.offset_s[view] - clock[0] + 1e-6 * (found.drift_ppm[view] - clock[1]) * seconds / 2)


def test_five_minutes_with_drift_are_in_step_within_two_milliseconds_throughout() -> None:
    """Two streams, 0.37 s and 40 ppm apart, base noise; measured: 0.1 ms, 1 ppm (bound: 2 ms anywhere in the clip)."""
    clock = (0.37, 40.0)
    rig, views = recording(300.0, [(0.0, 0.0), clock], rates=(60.0, 30.0))
    found = synchronise(rig, views, [0.0, None])
    for moment in (0.0, 150.0, 300.0):
        error = found.offset_s[1] - clock[0] + 1e-6 * (found.drift_ppm[1] - clock[1]) * moment
        assert abs(error) < 0.002
    assert 0 < found.drift_sigma_ppm[1] < 5


def test_sigma_means_what_it_says() -> None:
    """Twenty seeds of 10 s with the base noise: errors over sigma have a root mean square of 1 within a factor 1.6.

    The root mean square of 20 standard normal numbers lies within 0.7-1.3 in 95 % of cases; the sandwich is taken over
    ten blocks, whose own variance adds a factor of 1.2.
    """
    ratios = []
    for seed in range(20):
        rig, views = recording(10.0, [(0.0, 0.0), (0.2, 0.0)], rates=(30.0,), seed=seed)
        found = synchronise(rig, views, [0.0, None])
        ratios.append(middle_error(found, 1, (0.2, 0.0), 10.0) / found.offset_sigma_s[1])
        assert abs(middle_error(found, 1, (0.2, 0.0), 10.0)) < 0.004
        assert found.drift_ppm[1] == 0  # ten seconds say nothing of drift
    assert 1 / 1.6 < np.sqrt(np.mean(np.square(ratios))) < 1.6


def test_several_views_people_rates_and_a_late_start() -> None:
    """Measured: below 1 ms; bound: a tenth of the slowest frame."""
    clocks = [(0.0, 0.0), (-7.31, 0.0), (12.345, 0.0)]
    rig, views = recording(30.0, clocks, rates=(60.0, 25.0, 29.97), noise=SCENES["realistic"], people=2)
    found = synchronise(rig, views, [None, None, None])
    assert found.offset_s[0] == 0
    for view in (1, 2):
        assert abs(middle_error(found, view, clocks[view], 30.0)) < 0.004


def test_the_reference_is_the_first_view_that_is_given() -> None:
    rig, views = recording(10.0, [(0.0, 0.0), (0.2, 0.0), (0.3, 0.0)])
    found = synchronise(rig, views, [None, 5.0, None])
    np.testing.assert_allclose(found.offset_s, [4.8, 5.0, 5.1], atol=0.004)
    assert found.offset_sigma_s[1] == 0


def test_nobody_moves() -> None:
    rig, views = recording(10.0, [(0.0, 0.0)] * 3, noise=SCENES["realistic"], still=True)
    with pytest.raises(DegenerateError, match=r"view cam03: .*; let somebody walk .* or give offset_s"):
        synchronise(rig, views, [0.0, 0.0, None])


def test_a_motion_that_repeats_itself_is_named() -> None:
    """A loop of 2 s, seen for 10 s: every multiple of 2 s fits as well."""
    rig = circle_rig(2)
    own = np.arange(600) / 60
    xyz = dance(100 + np.abs((own + 1) % 2 - 1), NAMES, 1)[:, None]
    views = [
        observe(Scene(CameraRig((c,), np.zeros((6, 6))), NAMES, own, xyz), BASE, seed=v)[0]
        for v, c in enumerate(rig.cameras)
    ]
    with pytest.raises(DegenerateError, match="repeats itself"):
        synchronise(rig, views, [0.0, None])


def test_an_empty_view_and_a_view_of_others_are_named() -> None:
    rig, views = recording(5.0, [(0.0, 0.0), (0.2, 0.0)])
    empty = replace(views[1], xy=np.full_like(views[1].xy, np.nan), score=np.zeros_like(views[1].score))
    with pytest.raises(DegenerateError, match="view cam02: it shows nobody"):
        synchronise(rig, [views[0], empty], [0.0, None])
    elsewhere = replace(views[1], xy=views[1].xy + [0.0, 400.0])
    with pytest.raises(DegenerateError, match="view cam02: nobody in it fits"):
        synchronise(rig, [views[0], elsewhere], [0.0, None])


def test_right_offsets_are_not_contradicted_and_a_wrong_one_is_named_with_a_better_value() -> None:
    rig, views = recording(10.0, [(0.0, 0.0), (0.2, 0.0), (0.3, 0.0)])
    assert contradicted_offsets(rig, views, [0.0, 0.2, 0.3]) == []
    for view, wrong in ((0, 0.05), (1, 0.25), (2, 1.8)):
        offsets = [0.0, 0.2, 0.3]
        offsets[view] = wrong
        (finding,) = contradicted_offsets(rig, views, offsets)
        assert (finding.view, finding.offset_s) == (rig.names[view], wrong)
        assert finding.better_s == pytest.approx([0.0, 0.2, 0.3][view], abs=0.004)


def test_standing_people_contradict_nothing() -> None:
    rig, views = recording(10.0, [(0.0, 0.0)] * 3, noise=SCENES["realistic"], still=True)
    assert contradicted_offsets(rig, views, [0.0, 0.5, 0.0]) == []

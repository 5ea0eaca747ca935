"""Lenses of another focal length, and those that have none."""

from dataclasses import replace

import numpy as np
import pytest

from inference.calibration.focal_lengths import check_lenses, unshown, zoomed_lens
from inference.errors import InputError
from inference.geometry.projection import undistort_points
from inference.types import Intrinsics

LENS = Intrinsics(
    "cam01",
    (1920, 1080),
    np.array([[1400.0, 0, 955], [0, 1390, 541], [0, 0, 1]]),
    np.array([-0.11, 0.04, 0.001, -0.002, 0.01]),
)


def test_a_zoomed_lens_bends_pixels_as_before() -> None:
    """Undistorted pixels stay where they were; rays shrink by the focal length."""
    pixels = np.array([[100.0, 80.0], [960, 540], [1800, 1000]])
    zoomed = zoomed_lens(LENS, np.log(1.25))
    assert zoomed.K[0, 0] == pytest.approx(1750)
    assert zoomed.K[0, 2] == 955
    before, after = (undistort_points(lens, pixels) for lens in (LENS, zoomed))
    np.testing.assert_allclose(after * 1.25, before, rtol=1e-6, atol=1e-8)


def test_lenses_without_a_focal_length_of_their_own_are_refused() -> None:
    check_lenses([LENS, replace(LENS, distortion=np.zeros(0), distortion_model="none")])
    with pytest.raises(InputError, match="view cam01: .* fisheye lens of 4 coefficients"):
        check_lenses([replace(LENS, distortion=np.zeros(4), distortion_model="fisheye")])


def test_only_what_the_person_does_not_show_is_named() -> None:
    assert unshown(("a", "b"), np.array([0.01, 0.08]), 0.1) == [
        "view b: the person does not show its focal length (known to 8.0% after the solve, given to 10.0%); let the "
        "person walk towards and away from this camera, or measure its lens with a board"
    ]
    assert unshown(("a",), np.array([0.0]), 0.0) == []

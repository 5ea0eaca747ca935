"""Rays of a view at any moment, and their velocities."""

import numpy as np

from inference.clocks.ray_stream import ray_stream
from inference.types import Keypoints2D
from tests.synthetic import circle_rig

CAMERA = circle_rig(1, distortion=(0, 0, 0, 0)).cameras[0]


def moving(times: np.ndarray, speed_px: float = 140.0) -> Keypoints2D:
    """One keypoint that starts in the middle and moves right; f = 1400 px, so 140 px/s are 0.1 per second."""
    x = (1920 - 1) / 2 + speed_px * times
    xy = np.stack([x, np.full_like(x, (1080 - 1) / 2)], axis=-1)[:, None, None]
    covariance = np.broadcast_to(np.eye(2), (len(times), 1, 1, 2, 2))
    return Keypoints2D("cam01", ("nose",), times, xy, covariance, np.ones((len(times), 1, 1)))


def test_values_by_hand_between_frames_and_nothing_beyond_the_recording() -> None:
    stream = ray_stream(CAMERA, moving(np.arange(31) / 30))
    assert stream is not None
    reading = stream.at(np.array([-0.01, 0.0, 0.51, 1.0, 1.01]))
    np.testing.assert_allclose(reading.rays[1:4, 0, 0, 0], [0.0, 0.051, 0.1], atol=1e-12)
    assert np.isnan(reading.rays[[0, 4]]).all()
    np.testing.assert_allclose(reading.velocity[2, 0, 0], [0.1, 0.0], atol=1e-12)
    assert stream.middle == 0.5


def test_gaps_are_not_bridged_and_velocities_do_not_reach_over_them() -> None:
    times = np.delete(np.arange(61) / 30, [30, 31])
    stream = ray_stream(CAMERA, moving(times))
    assert stream is not None
    assert np.isnan(stream.at(np.array([1.03])).rays).all()
    assert np.isnan(stream.velocity[29:31]).all()
    assert np.isfinite(stream.velocity[10:20]).all()


def test_a_view_without_people_is_none() -> None:
    view = moving(np.arange(10) / 30)
    weak = Keypoints2D("cam01", ("nose",), view.timestamps_s, view.xy, view.covariance, np.full((10, 1, 1), 0.1))
    assert ray_stream(CAMERA, weak) is None
    assert ray_stream(CAMERA, moving(np.zeros(1))) is None


def test_errors_of_frames_and_of_velocities_are_uncorrelated_at_any_share() -> None:
    """White errors of 1 px, 20000 frames: the mean product is 0 within 4 standard errors, between frames too."""
    rng = np.random.default_rng(1)
    still = moving(np.arange(20000) / 60, 0.0)
    noisy = Keypoints2D(
        "cam01", still.joint_names, still.timestamps_s, still.xy + rng.normal(size=still.xy.shape), still.covariance,
        still.score,
    )  # fmt: skip
    stream = ray_stream(CAMERA, noisy)
    assert stream is not None
    for share in (0.0, 0.25, 0.5):
        reading = stream.at(stream.times[100:-100] + share / 60)
        product = (reading.rays * reading.velocity)[..., 0]
        assert abs(product.mean()) < 4 * product.std() * np.sqrt(8 / product.size)

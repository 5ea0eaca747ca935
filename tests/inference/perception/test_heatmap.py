"""The Gaussian fit of heatmaps: sub-pixel mean, oriented covariance, borders, second peaks, empty maps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import curve_fit

from inference.errors import ShapeError
from inference.perception.crop import image_from_cells, transform_points
from inference.perception.heatmap import fit_gaussians


def gaussians(
    mean: np.ndarray, covariance: np.ndarray, size: tuple[int, int] = (48, 64), height: float = 0.8
) -> np.ndarray:
    """(N, h, w) maps of Gaussians."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    away = np.stack([x, y], axis=-1) - mean[:, None, None]
    distance = np.einsum("nhwi,nij,nhwj->nhw", away, np.linalg.inv(covariance), away)
    return height * np.exp(-0.5 * distance)


def random_gaussians(
    rng: np.random.Generator, count: int, margin: float, size: tuple[int, int] = (48, 64)
) -> tuple[np.ndarray, np.ndarray]:
    """Means anywhere but in the margin; axes of 1 to 4 cells in any direction."""
    mean = np.stack([rng.uniform(margin, s - 1 - margin, count) for s in size], axis=1)
    angle, sigma = rng.uniform(0, np.pi, count), rng.uniform(1.0, 4.0, (count, 2))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    return mean, turn @ (sigma[:, :, None] ** 2 * np.eye(2)) @ np.swapaxes(turn, 1, 2)


def test_known_gaussians_come_back_with_the_sign_of_their_covariance() -> None:
    mean, covariance = random_gaussians(np.random.default_rng(1), 200, margin=8)
    fit = fit_gaussians(gaussians(mean, covariance))
    np.testing.assert_allclose(fit.mean, mean, atol=1e-4)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-3, atol=1e-3)
    assert (np.sign(fit.covariance[:, 0, 1]) == np.sign(covariance[:, 0, 1])).all()
    np.testing.assert_allclose(fit.score, 0.8, atol=0.1)


def test_the_sign_by_hand() -> None:
    """A blob along x = y, from upper left to lower right in the image, has a positive covariance."""
    maps = np.zeros((1, 32, 32))
    for i in range(-6, 7):
        maps[0, 16 + i, 16 + i] = np.exp(-(i**2) / 18)
        maps[0, 16 + i, 15 + i] = maps[0, 16 + i, 17 + i] = 0.6 * np.exp(-(i**2) / 18)
    assert fit_gaussians(maps).covariance[0, 0, 1] > 1.0


def test_peaks_at_the_border_are_not_pulled_inside() -> None:
    mean, covariance = random_gaussians(np.random.default_rng(2), 200, margin=0)
    mean[:100, 0] = 0.3
    fit = fit_gaussians(gaussians(mean, covariance))
    np.testing.assert_allclose(fit.mean, mean, atol=1e-3)


def test_noise_costs_what_theory_says() -> None:
    """Cramér-Rao bound of the mean of a Gaussian of height A and width s in white noise n is (n / A) sqrt(2 / π).

    Over 400 maps the root mean square error must stay within a factor 1.25 of it: the window cuts a little.
    """
    rng = np.random.default_rng(3)
    mean = np.stack([rng.uniform(12, 35, 400), rng.uniform(12, 51, 400)], axis=1)
    maps = gaussians(mean, np.broadcast_to(4.0 * np.eye(2), (400, 2, 2)))
    fit = fit_gaussians(maps + 0.02 * rng.normal(size=maps.shape))
    bound = 0.02 / 0.8 * np.sqrt(2 / np.pi)
    error = np.sqrt(((fit.mean - mean) ** 2).mean())
    assert error < 1.25 * bound


def test_covariances_are_positive_definite_on_pure_noise() -> None:
    maps = np.random.default_rng(4).uniform(size=(200, 24, 24))
    fit = fit_gaussians(maps)
    seen = np.isfinite(fit.mean[:, 0])
    assert (np.linalg.eigvalsh(fit.covariance[seen]) > 0).all()
    assert (fit.score[~seen] == 0).all()


def test_a_second_peak_widens_the_covariance_towards_it() -> None:
    """Heights 0.8 and 0.4, 30 cells apart in x: a third of 30² is added to the variance in x alone."""
    near, far = np.array([[10.0, 20.0]]), np.array([[40.0, 20.0]])
    unit = 2.25 * np.eye(2)[None]
    alone = gaussians(near, unit)
    fit = fit_gaussians(np.concatenate([alone, alone + gaussians(far, unit, height=0.4)]))
    np.testing.assert_allclose(fit.mean[1], near[0], atol=0.01)
    np.testing.assert_allclose(fit.covariance[1] - fit.covariance[0], [[300, 0], [0, 0]], atol=1.0)


@pytest.mark.parametrize("value", [0.0, 0.7, -1.0, np.nan, np.inf])
def test_flat_and_broken_maps_are_unobserved(value: float) -> None:
    fit = fit_gaussians(np.full((2, 16, 12), value))
    assert np.isnan(fit.mean).all()
    assert np.isnan(fit.covariance).all()
    np.testing.assert_array_equal(fit.score, 0.0)


def test_one_broken_cell_makes_its_map_unobserved_and_no_other() -> None:
    maps = gaussians(np.array([[20.0, 30.0]] * 3), np.broadcast_to(4.0 * np.eye(2), (3, 2, 2)))
    maps[1, 5, 5], maps[2, 0, 0] = np.nan, np.inf
    np.testing.assert_array_equal(fit_gaussians(maps).score > 0, [True, False, False])


def test_noise_does_not_widen_the_covariance() -> None:
    """400 variances average to the true 4 within 0.5 %, three standard errors; not so where noise is cut at 0."""
    rng = np.random.default_rng(8)
    mean = np.stack([rng.uniform(12, 35, 400), rng.uniform(12, 51, 400)], axis=1)
    maps = gaussians(mean, np.broadcast_to(4.0 * np.eye(2), (400, 2, 2)))
    maps += 0.03 * rng.normal(size=maps.shape)
    honest, cut = (fit_gaussians(each).covariance[:, 0, 0].mean() for each in (maps, np.maximum(maps, 0)))
    assert honest == pytest.approx(4.0, rel=0.005)
    assert cut > 4.025  # negative control


def test_the_place_in_the_picture_is_right_to_a_twentieth_of_a_pixel() -> None:
    """Cells of 4 px whose middles lie at 4 (i + 0.5) - 0.5: 0.05 px are 0.0125 cells."""
    rng = np.random.default_rng(9)
    xy = rng.uniform((30, 30), (160, 220), (200, 2))
    maps = gaussians((xy + 0.5) / 4 - 0.5, np.broadcast_to(4.0 * np.eye(2), (200, 2, 2)))
    maps += 0.002 * rng.normal(size=maps.shape)
    found = transform_points(image_from_cells((48, 64), (192, 256), "centre"), fit_gaussians(maps).mean)
    assert np.abs(found - xy).mean() < 0.02
    assert np.linalg.norm(found - xy, axis=1).max() < 0.05
    shifted = transform_points(image_from_cells((48, 64), (192, 256), "index"), fit_gaussians(maps).mean)
    assert np.linalg.norm(shifted - xy, axis=1).min() > 2.0  # negative control: the other convention


def test_a_low_peak_is_unobserved() -> None:
    mean = np.array([[20.0, 30.0]])
    assert fit_gaussians(gaussians(mean, np.eye(2)[None], height=0.01)).score[0] == 0
    assert fit_gaussians(gaussians(mean, np.eye(2)[None], height=0.05)).score[0] > 0


def test_no_maps_give_nothing() -> None:
    assert fit_gaussians(np.zeros((0, 8, 8))).mean.shape == (0, 2)


def test_the_result_does_not_depend_on_the_other_maps() -> None:
    mean, covariance = random_gaussians(np.random.default_rng(6), 20, margin=4)
    maps = gaussians(mean, covariance)
    together, alone = fit_gaussians(maps), fit_gaussians(maps[7:8])
    np.testing.assert_allclose(together.mean[7], alone.mean[0], atol=1e-5)


def test_another_rank_is_refused() -> None:
    with pytest.raises(ShapeError, match="maps has shape"):
        fit_gaussians(np.zeros((8, 8)))


def test_it_agrees_with_the_slow_fit_and_is_much_faster() -> None:
    """SciPy's curve_fit on whole maps is the plain version; processor time, with room in the bound."""
    rng = np.random.default_rng(7)
    mean, covariance = random_gaussians(rng, 400, margin=8)
    maps = gaussians(mean, covariance)
    maps += 0.01 * rng.normal(size=maps.shape)
    started = time.process_time()
    fit = fit_gaussians(maps)
    ours_s = (time.process_time() - started) / len(maps)
    y, x = np.mgrid[:64, :48]

    def model(_: None, height: float, u: float, v: float, a: float, b: float, c: float) -> np.ndarray:
        return (height * np.exp(-0.5 * ((a * (x - u) + b * (y - v)) ** 2 + (c * (y - v)) ** 2))).ravel()

    slow = []
    started = time.process_time()
    for each in maps[:8]:
        v, u = np.unravel_index(each.argmax(), each.shape)
        slow.append(curve_fit(model, None, each.ravel(), p0=[each.max(), u, v, 0.5, 0.0, 0.5])[0][1:3])
    slow_s = (time.process_time() - started) / 8
    np.testing.assert_allclose(fit.mean[:8], slow, atol=0.05)
    assert slow_s > 50 * ours_s

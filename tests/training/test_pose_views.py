import numpy as np
import torch

from inference.perception.flow import pose_gaussians
from training.pose_views import _MIRROR, HIPS, JOINT_NAMES, camera_prior, pose_views, stick_poses, whitened

POSES = stick_poses(64, 1)


def test_samples_depend_on_their_number_alone() -> None:
    source = pose_views(POSES, 2)
    four, two = source(0, 4), source(2, 2)
    assert np.array_equal(four.uv[2:], two.uv, equal_nan=True)
    assert not np.array_equal(four.uv[:2], two.uv, equal_nan=True)  # negative control: other numbers, other samples


def test_errors_are_as_large_as_stated_on_the_whole() -> None:
    seen = pose_views(POSES, 3, views=4)(0, 300)
    camera = np.einsum("nvij,nkj->nvki", seen.rotation, seen.xyz) + seen.anchor[:, :, None]
    apart = seen.uv - camera[..., :2] / camera[..., 2:]
    stated = np.sqrt(np.einsum("...ii->...i", seen.covariance))
    ratio = (apart / stated)[np.isfinite(apart)]
    assert 0.3 < np.median(ratio**2) < 0.44  # tails at the same variance leave a narrower middle than the normal 0.455
    assert 0.9 < np.mean(np.clip(ratio, -20, 20) ** 2) < 1.5  # views are a factor away from what they state
    assert (np.abs(ratio) > 4).mean() > 0.001  # and it has tails: a normal one has 0.00006


def test_joints_are_lost_alone_and_in_groups() -> None:
    lost = np.isnan(pose_views(POSES, 3, views=1)(0, 400).uv[:, 0, :, 0])
    share = lost.mean(axis=0)
    assert share[JOINT_NAMES.index("left_shoulder")] < 0.1 < share[JOINT_NAMES.index("left_pinky")]
    wrist, elbow = (lost[:, JOINT_NAMES.index(f"left_{name}")] for name in ("wrist", "elbow"))
    assert (wrist & elbow).mean() > 3 * wrist.mean() * elbow.mean()


def test_mirroring_exchanges_the_sides() -> None:
    names = [JOINT_NAMES[i] for i in _MIRROR]
    assert all(("left" in a) == ("right" in b) for a, b in zip(JOINT_NAMES, names, strict=True))
    assert [names[i] for i in _MIRROR] == list(JOINT_NAMES)


def test_whitened_poses_of_the_prior_s_own_kind_are_about_standard() -> None:
    prior = camera_prior(POSES, 0.01, count=3000)
    batch = whitened(pose_views(POSES, 9, views=0, noise_m=0.01)(0, 400), prior)
    square = batch["u"].square().mean()
    assert 0.7 < square < 1.6
    # Negative control: about another anchor they are not.
    seen = pose_views(POSES, 9, views=0, noise_m=0.01)(0, 400)
    gaussians = seen.gaussians(prior)
    assert (gaussians.whitened(seen.xyz + 0.3, prior) ** 2).mean() > 2 * square


def test_more_views_say_more() -> None:
    prior = camera_prior(POSES, 0.01, count=1000)
    one, four = (whitened(pose_views(POSES, 2, n, 0.01)(0, 32), prior)["log_volume"].mean() for n in (1, 4))
    assert four < one - 20


def test_unseen_poses_keep_the_prior() -> None:
    prior = camera_prior(POSES, 0.01, count=1000)
    nothing = np.full((1, 1, 29, 2), np.nan)
    anchor = np.array([[[0.0, 0.0, 4.0]]])
    sigma = np.array([1e-6])
    found = pose_gaussians(nothing, np.full((1, 1, 29, 2, 2), np.nan), np.eye(3)[None, None], anchor, sigma, prior)
    assert np.allclose(found.mean[0], prior.mean, atol=1e-6)
    precision = prior.basis().T @ found.whitener[0] @ found.whitener[0].T @ prior.basis()
    assert np.allclose(np.linalg.inv(precision), prior.covariance, atol=1e-6)


def test_exact_views_leave_the_true_pose() -> None:
    prior = camera_prior(POSES, 0.01, count=1000)
    seen = pose_views(POSES, 5, views=4)(0, 6)
    camera = np.einsum("nvij,nkj->nvki", seen.rotation, seen.xyz) + seen.anchor[:, :, None]
    exact = camera[..., :2] / camera[..., 2:]
    covariance = np.broadcast_to(1e-10 * np.eye(2), (*exact.shape, 2))
    found = pose_gaussians(exact, covariance, seen.rotation, seen.anchor, seen.anchor_sigma, prior)
    assert np.allclose(found.mean.reshape(seen.xyz.shape), seen.xyz, atol=2e-3)
    poses = found.poses(np.zeros((6, 1, 87)), prior)
    assert np.allclose(poses[:, 0], found.mean.reshape(seen.xyz.shape))
    u = np.random.default_rng(1).normal(size=(6, 1, 87))
    assert np.allclose(found.whitened(found.poses(u, prior)[:, 0], prior), u[:, 0], atol=1e-6)
    assert np.linalg.norm(seen.xyz[:, HIPS].mean(axis=1), axis=-1).max() > 0  # the anchor is off, and it did not matter


def test_stick_poses_are_upright() -> None:
    assert isinstance(POSES, torch.Tensor) and POSES[:, JOINT_NAMES.index("head_top"), 2].min() > 0

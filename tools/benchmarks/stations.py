"""Speed of single stations: the heatmap fit, the detector around its network, keyframes into Blender."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from inference.config import DetectionSettings
from inference.errors import ModelError
from inference.footage import open_footage, read_frames
from inference.perception.card import find_card
from inference.perception.crop import network_pictures
from inference.perception.detector import Detector, load_detector
from inference.perception.heatmap import fit_gaussians
from inference.perception.session import Session
from inference.perception.tracking import follow_people
from inference.shapes import FloatArray
from tools.benchmarks.measures import processor_seconds, seconds
from tools.benchmarks.rows import NOT_INSTALLED, Row, Target, skipped

MAPS, SHAPE, WINDOW = 1000, (64, 48), 6
FRAMES = 60  # of footage, for the detector


def heatmaps() -> list[Row]:
    """Compare our batched Gaussian fit with scipy, one map at a time on the same window, by processor time."""
    truth, covariance, maps = _gaussians(np.random.default_rng(7))
    ours = fit_gaussians(maps)
    took = processor_seconds(lambda: fit_gaussians(maps), times=7)
    some = MAPS // 10
    started = time.process_time()
    fits = [_scipy_fit(one) for one in maps[:some]]
    scipy_s = (time.process_time() - started) * MAPS / some
    scipy_mean, scipy_covariance = (np.array(part) for part in zip(*fits, strict=True))
    group = f"Gaussian fit of {MAPS:,} heatmaps {SHAPE[0]}×{SHAPE[1]}"
    note = f"processor time, one thread; scipy least_squares on the same window, {some} maps, time ×{MAPS // some}"
    no_larger = (Target(1.005, "scipy"),)  # the same minimum, found in single precision

    def mean_error(found: FloatArray) -> float:
        return float(np.linalg.norm(found[:some] - truth[:some], axis=1).mean())

    def covariance_error(found: FloatArray) -> float:
        away = np.linalg.norm(found[:some] - covariance[:some], axis=(1, 2))
        return float((away / np.linalg.norm(covariance[:some], axis=(1, 2))).mean())

    same = f"of the same {some} maps"
    means = mean_error(ours.mean), {"scipy": mean_error(scipy_mean)}
    covariances = covariance_error(ours.covariance), {"scipy": covariance_error(scipy_covariance)}
    return [
        Row(group, "time", "s", took, {"scipy": scipy_s}, note=note, targets=(Target(1 / 50, "scipy"),)),
        Row(group, f"error of the mean {same}", "cells", *means, targets=no_larger),
        Row(group, f"relative error of the covariance {same}", "", *covariances, targets=no_larger),
    ]


def _gaussians(rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N, 2) means, (N, 2, 2) covariances, (N, h, w) maps: turned, stretched, of different heights, with 1 % noise."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    grid = np.stack([columns, rows], axis=-1).astype(float)
    mean = rng.uniform((8, 8), (SHAPE[1] - 9, SHAPE[0] - 9), size=(MAPS, 2))
    angle = rng.uniform(0, np.pi, MAPS)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, 2, 2)
    sigma = rng.uniform(1.5, 3.0, size=(MAPS, 2))
    white = ((grid - mean[:, None, None]) @ turn[:, None]) / sigma[:, None, None]
    height = rng.uniform(0.5, 1.0, size=(MAPS, 1, 1))
    maps = height * np.exp(-0.5 * (white**2).sum(axis=-1)) + 0.01 * rng.normal(size=(MAPS, *SHAPE))
    return mean, turn @ (sigma[:, :, None] ** 2 * np.swapaxes(turn, 1, 2)), maps.astype(np.float32)


def _scipy_fit(one: FloatArray) -> tuple[FloatArray, FloatArray]:  # (h, w)
    """Fit one map with scipy: mean (2,) and covariance (2, 2), cells."""
    y, x = np.unravel_index(int(one.argmax()), one.shape)
    top, left = max(y - WINDOW, 0), max(x - WINDOW, 0)
    window = one[top : y + WINDOW + 1, left : x + WINDOW + 1]
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]

    def residual(p: FloatArray) -> FloatArray:
        dx, dy = columns - p[0], rows - p[1]
        model = p[5] * np.exp(-0.5 * ((p[2] * dx + p[3] * dy) ** 2 + (p[4] * dy) ** 2))
        return (model - window).ravel()

    found = least_squares(residual, [x - left, y - top, 0.5, 0.0, 0.5, float(window.max())]).x
    root = np.array([[found[2], found[3]], [0.0, found[4]]])
    return np.array([found[0] + left, found[1] + top]), np.linalg.inv(root.T @ root)


def detector(video: Path | None) -> list[Row]:
    """Compare following people in footage with the bare keypoint network on prepared pictures."""
    group = "detector on CPU"
    if video is None or not video.is_file():
        return skipped(group, "no footage: name the real footage with --shared")
    try:
        loaded = load_detector(DetectionSettings(provider="cpu"))
    except ModelError as error:
        return skipped(group, str(error))
    footage = open_footage("bench", str(video))
    count = min(FRAMES, len(footage.timestamps_s))
    frames = [(index, frame) for index, frame in read_frames(footage, 0, count)]
    settings = DetectionSettings(provider="cpu", max_people=1)
    follow_people("bench", iter(frames[:5]), footage.timestamps_s[:5], loaded, settings)
    took = seconds(
        lambda: follow_people("bench", iter(frames), footage.timestamps_s[:count], loaded, settings), times=2
    )
    bare = _bare_rate(loaded)
    size = "×".join(str(side) for side in loaded.keypoint_card.input.size)
    note = f"{count} frames in memory, one person, network input {size}, {loaded.provider}"
    return [
        Row(group, "pictures per second, one person followed", "1/s", count / took, {"bare network": bare}, True, note)
    ]


def own_detector(name: str = "sightline_s") -> list[Row]:
    """Time a detector of our own through ONNX Runtime, one picture a call: the aim is 60 a second on two cores.

    By the clock with two threads, and by processor time with one, times two, which a busy machine disturbs less.
    """
    group = "our own detector on two cores"
    try:
        card = find_card(name)
    except ModelError as error:
        return skipped(group, f"{error}; train and export it, or add its card")
    width, height = card.input.size
    pictures = network_pictures(np.full((1, height, width, 3), 128, dtype=np.uint8), card.input)
    note = f"{card.name}, input {width}×{height}, {card.accuracy.get('precision', 'fp32')}"
    two, one = (Session(card.path, "cpu", threads=threads) for threads in (2, 1))
    names = list(one.output_names)
    by_clock = 20 / seconds(lambda: [two.run(card.input.name, pictures, names) for _ in range(20)], times=5)
    alone = 20 / processor_seconds(lambda: [one.run(card.input.name, pictures, names) for _ in range(20)], times=5)
    return [
        Row(group, "pictures per second", "1/s", by_clock, {"aim": 60.0}, True, note),
        Row(group, "pictures per second, by processor time × 2", "1/s", 2 * alone, {"aim": 60.0}, True, note),
    ]


def _bare_rate(loaded: Detector) -> float:
    card, session = loaded.keypoint_card, loaded.keypoint_session
    width, height = card.input.size
    grey = np.full((1, height, width, 3), 128, dtype=np.uint8)
    pictures = network_pictures(grey, card.input)
    outputs = list(session.output_names)
    session.run(card.input.name, pictures, outputs)
    return 20 / seconds(lambda: [session.run(card.input.name, pictures, outputs) for _ in range(20)], times=3)


def blender() -> list[Row]:
    """Time 60 bones × 10,000 frames as keyframes, through the code that a solve uses, in a process of its own."""
    group = "keyframes into Blender"
    if importlib.util.find_spec("bpy") is None:
        return [Row(group, "60 bones × 10,000 frames", "s", None, {"bpy": NOT_INSTALLED})]
    child = Path(__file__).with_name("blender_child.py")
    try:
        done = subprocess.run([sys.executable, str(child)], capture_output=True, text=True, timeout=280, check=False)
    except subprocess.TimeoutExpired:
        return skipped(group, "not done after 280 s")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return skipped(group, f"the process ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    found = json.loads(lines[-1])
    bones, ellipsoids = found["armature_s"], found["ellipsoids_s"]
    both = [a + b for a, b in zip(bones, ellipsoids, strict=True)]
    note = f"Blender {found['blender']}, {found['keys']:,} keys in all; of the processor: "
    return [
        Row(group, "60 bones × 10,000 frames", "s", bones[0], {"target": 1.5}, note=f"{note}{bones[1]:.2f} s"),
        Row(group, "the same and 25 ellipsoids", "s", both[0], {"target": 2.5}, note=f"{note}{both[1]:.2f} s"),
    ]

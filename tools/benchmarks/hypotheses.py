"""How fast the shipped flow draws bodies."""

from __future__ import annotations

import numpy as np

from inference.config import HypothesisSettings
from inference.errors import ModelError
from inference.geometry.reprojection import rays_from_keypoints
from inference.hypotheses import sample_bodies, seen_by_views
from inference.perception.pose_flow import load_flow
from inference.stature import BodySize
from inference.types import CameraRig
from tests.synthetic import BASE, make_scene, observe

from .measures import processor_seconds
from .rows import Row, Target, skipped

FRAMES, SAMPLES = 16, 1_000


def sampling() -> list[Row]:
    """Time 1,000 bodies a frame given one view, condition and weights included, by processor time."""
    group = f"hypotheses, {SAMPLES:,} bodies a frame, one view"
    try:
        flow = load_flow(HypothesisSettings().flow, threads=1)
    except ModelError as problem:
        return skipped(group, str(problem))
    scene = make_scene(frames=FRAMES, cameras=2, seed=1)
    rig = CameraRig(scene.rig.cameras[:1], np.zeros((6, 6)))
    rays = rays_from_keypoints(rig, observe(scene, BASE, seed=2)[:1], 0.1)
    seen = seen_by_views(rays, FRAMES, scene.joint_names, flow.joint_names)
    took = processor_seconds(lambda: sample_bodies(flow, seen, SAMPLES, BodySize(1.7), 0), times=5) / FRAMES
    note = f"one thread, {FRAMES} frames in one call; 20 ms of a processor are 10 ms on two"
    return [Row(group, "processor time a frame", "ms", 1_000 * took, note=note, targets=(Target(20.0),))]

"""Runs in the environment of the peers: triangulates one scene with each of them. Imports nothing of ours.

    python peer_child.py SCENE.npz RESULT.npz

SCENE holds K (V,3,3), R (V,3,3), t (V,3) m, xy (V,T,J,2) undistorted px with NaN where missing, score (V,T,J), fps,
bones (B,2) joint indices. RESULT gets <name>_xyz (T,J,3) m and <name>_seconds.
"""

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

MIN_SCORE = 0.3  # Pose2Sim's default; both get it
LONGEST_GAP = 20  # frames, Pose2Sim's default


def aniposelib_optim(scene: dict[str, np.ndarray]) -> np.ndarray:
    """Aniposelib's whole-sequence optimisation with its own defaults, limbs as constraints, in millimetres."""
    import cv2
    from aniposelib.cameras import Camera, CameraGroup

    cameras = [
        Camera(K, np.zeros(5), rvec=cv2.Rodrigues(R)[0].ravel(), tvec=1000 * t)
        for K, R, t in zip(scene["K"], scene["R"], scene["t"], strict=True)
    ]
    constraints = [list(map(int, bone)) for bone in scene["bones"]]
    return CameraGroup(cameras).triangulate_optim(_scored(scene), constraints=constraints) / 1000


def pose2sim_frames(scene: dict[str, np.ndarray]) -> np.ndarray:
    """Pose2Sim's triangulation, frame by frame, with its defaults, and its interpolation of short gaps."""
    from Pose2Sim.triangulation import triangulation_from_best_cameras

    projections = [K @ np.column_stack([R, t]) for K, R, t in zip(scene["K"], scene["R"], scene["t"], strict=True)]
    xy, score = _scored(scene), np.where(scene["score"] < MIN_SCORE, np.nan, scene["score"])
    frames, joints = score.shape[1:]
    result = np.full((frames, joints, 3), np.nan)
    for frame in range(frames):
        for joint in range(joints):
            keypoint = np.array([xy[:, frame, joint, 0], xy[:, frame, joint, 1], score[:, frame, joint]])
            result[frame, joint] = triangulation_from_best_cameras({}, keypoint, keypoint, projections, None)[0]
    return result


def pose2sim_gcv(scene: dict[str, np.ndarray], start: np.ndarray) -> np.ndarray:
    """Pose2Sim's linear interpolation of short gaps and its GCV spline, its best filter on these scenes."""
    import pandas as pd
    from Pose2Sim.filtering import gcv_spline_filter_1d

    frames = len(start)
    columns = pd.DataFrame(start.reshape(frames, -1)).interpolate(limit=LONGEST_GAP, limit_area="inside")
    filtered = [gcv_spline_filter_1d({}, float(scene["fps"]), columns[name]).to_numpy() for name in columns]
    return np.stack(filtered, axis=-1).reshape(start.shape)


def _scored(scene: dict[str, np.ndarray]) -> np.ndarray:
    return np.where((scene["score"] < MIN_SCORE)[..., None], np.nan, scene["xy"])


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def main() -> None:
    """Run every peer that is installed; one that fails leaves no result."""
    scene = dict(np.load(sys.argv[1]))
    results: dict[str, np.ndarray] = {}

    def keep(name: str, xyz: np.ndarray, seconds: float) -> None:
        results[f"{name}_xyz"], results[f"{name}_seconds"] = xyz, np.array(seconds)

    warnings.simplefilter("ignore")
    if importlib.util.find_spec("aniposelib"):
        import aniposelib.cameras  # noqa: F401  its compilation and import are not what is timed

        keep("aniposelib optim", *_timed(lambda: aniposelib_optim(scene)))
    if importlib.util.find_spec("Pose2Sim"):
        pose2sim_frames({**scene, "xy": scene["xy"][:, :1], "score": scene["score"][:, :1]})  # imports
        xyz, seconds = _timed(lambda: pose2sim_frames(scene))
        keep("Pose2Sim per frame", xyz, seconds)
        smooth, more = _timed(lambda: pose2sim_gcv(scene, xyz))
        keep("Pose2Sim + GCV spline", smooth, seconds + more)
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()

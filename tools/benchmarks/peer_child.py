"""Runs in the environment of the peers: works on one scene with one of them. Imports nothing of ours.

    python peer_child.py SCENE.npz RESULT.npz aniposelib|pose2sim|frames|cameras

SCENE holds K (V,3,3), R (V,3,3), t (V,3) m, xy (V,T,J,2) undistorted px with NaN where missing, score (V,T,J), fps,
bones (B,2) joint indices. RESULT gets <name>_xyz (T,J,3) m and <name>_seconds (pose2sim's
triangulation also <name>_cpu_seconds); for cameras R (V,3,3), t (V,3) m.
frames is pose2sim's triangulation alone. cameras starts from the scene's R and t.
"""

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

MIN_SCORE = 0.3  # Pose2Sim's default; both get it
LONGEST_GAP = 20  # frames, Pose2Sim's default


def aniposelib_cameras(scene: dict[str, np.ndarray]) -> list[object]:
    """Cameras without distortion, in millimetres."""
    import cv2
    from aniposelib.cameras import Camera

    return [
        Camera(K, np.zeros(5), rvec=cv2.Rodrigues(R)[0].ravel(), tvec=1000 * t)
        for K, R, t in zip(scene["K"], scene["R"], scene["t"], strict=True)
    ]


def aniposelib_optim(scene: dict[str, np.ndarray]) -> np.ndarray:
    """Aniposelib's whole-sequence optimisation with its own defaults, limbs as constraints."""
    from aniposelib.cameras import CameraGroup

    constraints = [list(map(int, bone)) for bone in scene["bones"]]
    return CameraGroup(aniposelib_cameras(scene)).triangulate_optim(_scored(scene), constraints=constraints) / 1000


def aniposelib_adjusted(scene: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Aniposelib's iterative bundle adjustment of the extrinsics, on every joint of every frame as a point."""
    import cv2
    from aniposelib.cameras import CameraGroup

    points = _scored(scene).reshape(len(scene["K"]), -1, 2)
    points = points[:, np.isfinite(points[..., 0]).sum(axis=0) >= 2]
    group = CameraGroup(aniposelib_cameras(scene))
    np.random.seed(1)
    started = time.perf_counter()
    group.bundle_adjust_iter(points, n_samp_iter=500, n_samp_full=points.shape[1], only_extrinsics=True)
    took = time.perf_counter() - started
    R = np.stack([cv2.Rodrigues(camera.get_rotation())[0] for camera in group.cameras])
    t = np.stack([camera.get_translation() / 1000 for camera in group.cameras])
    return {"R": R, "t": t, "cameras_seconds": np.array(took)}


def pose2sim_frames(scene: dict[str, np.ndarray]) -> np.ndarray:
    """Pose2Sim's triangulation, frame by frame, with its defaults."""
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


def pose2sim_filtered(scene: dict[str, np.ndarray], start: np.ndarray, name: str) -> np.ndarray:
    """Pose2Sim's linear interpolation of short gaps and one of its filters with its defaults."""
    import pandas as pd
    from Pose2Sim import filtering

    work = getattr(filtering, f"{name}_filter_1d")
    columns = pd.DataFrame(start.reshape(len(start), -1)).interpolate(limit=LONGEST_GAP, limit_area="inside")
    filtered = [work({}, float(scene["fps"]), columns[column]).to_numpy() for column in columns]
    return np.stack(filtered, axis=-1).reshape(start.shape)


def _scored(scene: dict[str, np.ndarray]) -> np.ndarray:
    return np.where((scene["score"] < MIN_SCORE)[..., None], np.nan, scene["xy"])


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def pose2sim(scene: dict[str, np.ndarray], filters: bool) -> dict[str, np.ndarray]:
    """Run Pose2Sim frame by frame, then its filters on that."""
    pose2sim_frames({**scene, "xy": scene["xy"][:, :1], "score": scene["score"][:, :1]})  # imports
    used = time.process_time()
    xyz, seconds = _timed(lambda: pose2sim_frames(scene))
    used = time.process_time() - used
    name = "Pose2Sim per frame"
    results = {f"{name}_xyz": xyz, f"{name}_seconds": np.array(seconds), f"{name}_cpu_seconds": np.array(used)}
    for title, name in (("GCV spline", "gcv_spline"), ("Butterworth", "butterworth")) if filters else ():
        smooth, more = _timed(lambda name=name: pose2sim_filtered(scene, xyz, name))
        results[f"Pose2Sim + {title}_xyz"] = smooth
        results[f"Pose2Sim + {title}_seconds"] = np.array(seconds + more)
    return results


def main() -> None:
    """Run one peer."""
    scene, what = dict(np.load(sys.argv[1])), sys.argv[3]
    warnings.simplefilter("ignore")
    if what == "cameras":
        results = aniposelib_adjusted(scene)
    elif what == "aniposelib":
        import aniposelib.cameras  # noqa: F401  its compilation and import are not what is timed

        xyz, seconds = _timed(lambda: aniposelib_optim(scene))
        results = {"aniposelib optim_xyz": xyz, "aniposelib optim_seconds": np.array(seconds)}
    else:
        results = pose2sim(scene, what == "pose2sim")
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()

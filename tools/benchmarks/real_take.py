"""The real take `pose2sim_single`: our solve from the videos, and from OpenPose keypoints, against plain DLT.

There is no truth. The judges are reprojection against OpenPose, which the detector has never seen, and the
spread of bone lengths, which do not change.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference.detection import find_keypoints
from inference.geometry.triangulation import linear_triangulation
from inference.layouts import place
from inference.pipeline import cameras_of_views, people_in_all_views, solve, tracks_on_one_clock
from inference.progress import Progress
from inference.report import judges
from inference.shapes import FloatArray
from inference.take import Take, read_take
from inference.types import CameraRig, Keypoints2D, Keypoints3D, Solution, SolveReport
from inference.views import open_views
from tools.benchmarks import no_truth
from tools.benchmarks.measures import layer_of
from tools.benchmarks.peers import Peers
from tools.benchmarks.rows import Row, skipped

CAMERAS = ("cam01", "cam02", "cam03", "cam04")
LETTERBOXED = ("cam01", "cam02")  # re-encoded 1080 px wide with bars; the calibration counts 1088
MIN_SCORE = 0.3  # OpenPose keypoints below this are not used as judges


@dataclass(frozen=True, eq=False)
class Reference:
    """Independent 2D keypoints of the same person, with the cameras in whose pixels they count."""

    rig: CameraRig
    views: tuple[Keypoints2D, ...]


def from_videos(shared: Path, peers: Peers) -> list[Row]:
    """Solve from the videos and judge against OpenPose; the same detector's keypoints by plain DLT beside it."""
    group = "pose2sim_single from videos"
    folder = shared / "pose2sim_single"
    if not folder.is_dir():
        return skipped(group, f"no folder {folder}: name the real footage with --shared")
    with tempfile.TemporaryDirectory() as temporary:
        take = read_take(write_take(Path(temporary) / "take.toml", folder, videos=True))
        started = time.perf_counter()
        solution = solve(take, Path(temporary) / "out")
        took = time.perf_counter() - started
        rig, views = keypoints_of(take)
        reference, which = openpose_reference(folder, Path(temporary))
    frames, persons = solution.solved.flag.shape[:2]
    plain = layer_of(linear_triangulation(rig, views), views[0].joint_names, views[0].timestamps_s)
    rows = [
        Row(group, "frames solved", "", float(frames), note=f"{persons} person; videos hold 100 frames"),
        Row(
            group,
            "joints observed, raw / solved",
            "%",
            100 * float(solution.raw.observed.mean()),
            {"solved": 100 * float(solution.solved.observed.mean())},
            True,
        ),
        *_judged(group, solution, plain, reference),
        no_truth.left_out_row(group, rig, views, take.settings.triangulation),
        *no_truth.rows(group, solution.raw, solution.solved, no_truth.peer_layers(peers.solve(rig, views), views[0])),
        Row(group, "pictures per second, whole solve", "1/s", frames * len(views) / took, {}, True, f"{took:.1f} s"),
    ]
    return [*rows, which]


def from_openpose(shared: Path, peers: Peers) -> list[Row]:
    """Solve from OpenPose keypoints; judged by the same keypoints and by bones, beside plain DLT of them."""
    group = "pose2sim_single from OpenPose keypoints"
    folder = shared / "pose2sim_single"
    if not folder.is_dir():
        return skipped(group, f"no folder {folder}: name the real footage with --shared")
    with tempfile.TemporaryDirectory() as temporary:
        reference, which = openpose_reference(folder, Path(temporary))
        take = read_take(write_take(Path(temporary) / "take.toml", folder, videos=False, original=_original(which)))
        solution = solve(take, Path(temporary) / "out")
        rig, views = keypoints_of(take)
    plain = layer_of(
        linear_triangulation(reference.rig, reference.views), reference.views[0].joint_names, solution.raw.timestamps_s
    )
    layers = no_truth.peer_layers(peers.solve(rig, views), views[0])
    return [
        *_judged(group, solution, plain, reference, layers),
        no_truth.left_out_row(group, rig, views, take.settings.triangulation),
        *no_truth.rows(group, solution.raw, solution.solved, layers),
        which,
    ]


def write_take(path: Path, folder: Path, videos: bool, original: bool = True) -> Path:
    """Write the take file of `pose2sim_single`, beside nothing of the shared folder.

    Args:
        path: where to write.
        folder: the shared folder of the take.
        videos: detect in the videos; else import the OpenPose keypoints.
        original: whether the keypoints of cams 1–2 count in the pixels of the original, 1088 px wide videos.
    """
    lines = ["[take]", 'name = "pose2sim_single"', "persons = 1", "[calibration]"]
    lines.append(f'source = "{(folder / "calibration" / "Calib.qca.txt").as_posix()}"')
    for name in CAMERAS:
        lines += ["[[view]]", f'name = "{name}"']
        if videos:
            lines.append(f'video = "{(folder / "videos" / f"{name}.mp4").as_posix()}"')
        else:
            lines.append(f'keypoints = "{(folder / "openpose_body25b" / f"{name}_json").as_posix()}"')
            lines += ['keypoint_layout = "body_25b"', "fps = 60"]
        if name in LETTERBOXED and (videos or not original):
            lines.append('fit = "letterbox"')
            if not videos:
                lines.append("size = [1080, 1920]")
    lines += ["[solve]", "reuse_detections = false"]  # the benchmark looks at every frame
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def openpose_reference(folder: Path, temporary: Path) -> tuple[Reference, Row]:
    """Read OpenPose's keypoints, decide in which pixels cams 1–2 count, and say by how much.

    The person is chosen across the views as in a solve. The keypoints are read in both ways; the one in which the
    four views agree better, by leaving one view out, is the right one.
    """
    found, errors = [], []
    for original in (True, False):
        take = read_take(write_take(temporary / "reference.toml", folder, videos=False, original=original))
        rig, views = keypoints_of(take)
        views = tuple(_above(view, MIN_SCORE) for view in views)
        found.append(Reference(rig, views))
        left_out = judges.leave_one_out_errors(rig, views, take.settings.triangulation)
        errors.append(judges.spread(left_out).median)
    better = int(np.argmin(errors))
    margin = 100 * (max(errors) / min(errors) - 1)
    counted = ("the original, 1088 px wide", "the video, 1080 px wide")[better]
    note = f"leave-one-out median; taken to count in {counted}: better by {margin:.0f} %, which is no proof"
    row = Row(
        "OpenPose pixels of cams 1–2", "1088 px wide / 1080 px wide", "px", errors[0], {"1080": errors[1]}, note=note
    )
    return found[better], row


def _original(row: Row) -> bool:
    return "original" in row.note


def keypoints_of(take: Take) -> tuple[CameraRig, tuple[Keypoints2D, ...]]:
    """Run the stages of a solve up to the chosen person's 2D keypoints."""
    report = SolveReport(take.name)
    opened = open_views(take)
    rig = cameras_of_views(take, opened, report).rig
    tracks = find_keypoints(take, opened, rig.lenses, report, Progress())
    return rig, people_in_all_views(take, rig, tracks_on_one_clock(take, opened, tracks), report)


def _judged(
    group: str,
    solution: Solution,
    plain: Keypoints3D,
    reference: Reference,
    others: Mapping[str, Keypoints3D] | None = None,
) -> list[Row]:
    """Compare the layers where all of them have an estimate and the reference has a keypoint."""
    layers = {"raw": solution.raw, "solved": solution.solved, "plain DLT": plain, **(others or {})}
    errors = {name: _reference_errors(layer, reference) for name, layer in layers.items()}
    shared = np.logical_and.reduce([np.isfinite(one) for one in errors.values()])
    spread = {name: judges.spread(one[shared]) for name, one in errors.items()}
    where = f"{int(shared.sum())} keypoints of OpenPose with score ≥ {MIN_SCORE:g} where all layers have the joint"
    beside = [name for name in layers if name != "solved"]
    return [
        Row(
            group,
            "reprojection against OpenPose, median (solved)",
            "px",
            spread["solved"].median,
            {name: spread[name].median for name in beside},
            note=where,
        ),
        Row(
            group,
            "reprojection against OpenPose, 95 % (solved)",
            "px",
            spread["solved"].p95,
            {name: spread[name].p95 for name in beside},
        ),
    ]


def _reference_errors(layer: Keypoints3D, reference: Reference) -> FloatArray:
    """Reproject into the reference's cameras; joints that are one place on the body are matched.

    Returns:
        (V, T, P, J) px over the reference's joints, so that layers of different layouts line up.
    """
    renamed = replace(layer, joint_names=tuple(place(name) for name in layer.joint_names))
    views = tuple(replace(v, joint_names=tuple(place(name) for name in v.joint_names)) for v in reference.views)
    errors = judges.reprojection_errors(reference.rig, renamed, views)
    result = np.full((len(views), *views[0].score.shape), np.nan)
    for j, name in enumerate(views[0].joint_names):
        if name in renamed.joint_names:
            result[..., j] = errors[..., renamed.joint_names.index(name)]
    return result


def _above(view: Keypoints2D, score: float) -> Keypoints2D:
    """Return the view without keypoints below a score."""
    weak = view.score < score
    return replace(
        view,
        xy=np.where(weak[..., None], np.nan, view.xy),
        covariance=np.where(weak[..., None, None], np.nan, view.covariance),
        score=np.where(weak, 0.0, view.score),
    )

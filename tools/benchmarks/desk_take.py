"""The real take `desk_charuco`: four webcams on a desk, a person with a board in hand, the true calibration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from inference.pipeline import solve
from inference.take import read_take
from tools.benchmarks import no_truth
from tools.benchmarks.peers import Peers
from tools.benchmarks.real_take import keypoints_of
from tools.benchmarks.rows import Row, skipped

CAMERAS = ("cam_0", "cam_1", "cam_2", "cam_3")


def from_videos(shared: Path, peers: Peers) -> Iterator[Row]:
    """Solve from the videos; judged by bones, shaking, lag and views left out (its feet are not seen)."""
    group, folder = "desk_charuco from videos", shared / "desk_charuco"
    if not folder.is_dir():
        yield from skipped(group, f"no folder {folder}: name the real footage with --shared")
        return
    with tempfile.TemporaryDirectory() as temporary:
        take = read_take(_write_take(Path(temporary) / "take.toml", folder))
        solution = solve(take, Path(temporary) / "out")
        rig, views = keypoints_of(take)
    layers = no_truth.peer_layers(peers.solve(rig, views), views[0])
    yield no_truth.left_out_row(group, rig, views, take.settings.triangulation)
    yield from no_truth.rows(group, solution.raw, solution.solved, layers, feet=False)


def _write_take(path: Path, folder: Path) -> Path:
    lines = ["[take]", 'name = "desk"', "[calibration]", f'source = "{(folder / "camera_array.toml").as_posix()}"']
    for name in CAMERAS:
        video = folder / "calibration" / "extrinsic" / f"{name}.mp4"
        lines += ["[[view]]", f'name = "{name}"', f'video = "{video.as_posix()}"']
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

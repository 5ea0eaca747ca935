"""Measure spatial uncertainty on simulated views: ``python training/evaluate_spatial.py RUN [RUN …] --rig ring:4``.

Prints rows for training/RESULTS.md. Rigs: those of training/multi_view.py, ``ring:N`` and ``random:N`` with N views.
``plain`` is linear triangulation of the run's keypoints with one noise level for all, taken from its own residuals on
the run's training rig.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

import numpy as np  # noqa: E402  the checkout is on the path only now
import torch  # noqa: E402

from inference.errors import InputError, SolveError  # noqa: E402
from training.multi_view import Rig, multi_view_samples  # noqa: E402
from training.networks.spatial import SpatialNetwork  # noqa: E402
from training.sources import Source  # noqa: E402
from training.stick_figures import solid_poses  # noqa: E402
from training.tasks.known import TASKS  # noqa: E402
from training.tasks.spatial import Judged, SpatialTask, estimated, judged, spatial_scores  # noqa: E402
from training.trainer.checkpoint import FILE, load_weights, read_checkpoint  # noqa: E402
from training.trainer.settings import config_from  # noqa: E402
from training.triangulation import Points, linear_points  # noqa: E402

_POSES = 1_000
_COLUMNS = ("error_mm", "median_mm", "good", "coverage_50", "coverage_90", "coverage_95", "ece", "nll", "sharpness_mm")
_PERCENT = ("good", "coverage_50", "coverage_90", "coverage_95", "ece")


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        rigs = [rig_of(text) for text in options.rig]
        lines = ["| model | rig | " + " | ".join(_COLUMNS) + " | left_out_nll |", "|---" * (len(_COLUMNS) + 3) + "|"]
        for folder in options.runs:
            name, task, model = open_spatial(folder)
            for rig in rigs:
                source = multi_view_samples(solid_poses(_POSES, options.seed), rig, task.data.size, options.seed)
                lines.append(_row(name, rig, spatial_scores(judged(model, source, options.samples))))
                if options.plain:
                    lines.append(
                        _row(f"{name}: plain", rig, spatial_scores(plain(model, task, source, options.samples)))
                    )
    except SolveError as error:
        sys.stderr.write(f"evaluate_spatial.py: {error}\n")
        return error.exit_code
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def rig_of(text: str) -> Rig:
    """Read ``room`` or ``ring:8``.

    Raises:
        InputError: there is no such rig, or its number of views is none.
    """
    name, _, views = text.partition(":")
    if views and not views.isdigit():
        raise InputError(f"--rig {text!r}: write the number of views as in ring:4")
    return Rig(name, int(views or 4))


def open_spatial(folder: Path) -> tuple[str, SpatialTask, SpatialNetwork]:
    """Read a run: its name, task and network with averaged weights.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of another system.
    """
    checkpoint = read_checkpoint(folder / FILE)
    config = config_from(dict(checkpoint.facts["config"]), TASKS, str(folder / FILE))
    if config.system != "spatial_uncertainty":
        raise InputError(f"{folder} is a run of {config.system!r}, not of 'spatial_uncertainty'")
    tables = {**config.tables, "data": dataclasses.replace(config.tables["data"], start="")}
    task = SpatialTask(tables, config.training.seed)
    model = task.model().eval()
    load_weights(model, checkpoint.part("ema"), str(folder / FILE))
    return config.name, task, model


def plain(model: SpatialNetwork, task: SpatialTask, source: Source, samples: int) -> Judged:
    """Judge linear triangulation of the network's keypoints, as a Gaussian of one noise level."""
    training = task.source(Rig(task.data.rig, task.data.views), held_out=True)
    points, _ = _linear(model, training, samples)
    used = points.good & (points.freedom > 1)
    variance = points.deviance[used].sum() / points.freedom[used].sum() if used.any() else torch.tensor(1.0)
    points, truth = _linear(model, source, samples)
    error = torch.where(points.good[..., None], points.xyz - truth, torch.nan).numpy()
    matrix = points.matrix * variance
    sure = points.good & (torch.linalg.eigvalsh(matrix)[..., -1] < 0.3**2)
    scale = torch.where(sure[..., None, None], matrix, torch.nan).numpy()
    error = np.where(sure[..., None].numpy(), error, np.nan)
    return Judged(error, scale, np.full(len(error), math.inf), np.zeros(0))


def _linear(model: SpatialNetwork, source: Source, samples: int) -> tuple[Points, torch.Tensor]:
    parts, truths = [], []
    for first in range(0, samples, 16):
        batch = source(first, min(16, samples - first))
        with torch.no_grad():
            xy = estimated(model, batch).xy
            parts.append(linear_points(batch["projection"], xy, batch["seen"], batch["centre"]))
        truths.append(batch["xyz"])
    return Points(*(torch.cat(part) for part in zip(*parts, strict=True))), torch.cat(truths)


def _row(name: str, rig: Rig, scores: dict[str, float]) -> str:
    values = {key: scores.get(key, math.nan) for key in _COLUMNS}
    cells = [f"{100 * value:.1f}" if key in _PERCENT else f"{value:.2f}" for key, value in values.items()]
    left_out = f"{scores['left_out_nll']:.2f}" if "left_out_nll" in scores else ""
    return f"| {name} | {rig.name}, {rig.count} views | " + " | ".join([*cells, left_out]) + " |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate_spatial.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a training")
    parser.add_argument("--rig", action="append", required=True, help="cameras that see the people; may be repeated")
    parser.add_argument("--samples", type=int, default=200, help="poses")
    parser.add_argument("--seed", type=int, default=77, help="of poses, cameras and labels")
    parser.add_argument("--plain", action="store_true", help="also linear triangulation of the same keypoints")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return parser


if __name__ == "__main__":
    sys.exit(main())

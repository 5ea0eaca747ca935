"""Measure a trained flow on held-out people: ``python training/evaluate_flow.py RUN [RUN …] --poses 200 --seed 5``.

Prints rows for training/RESULTS.md: nearest, mean and farthest of 200 samples and z = 0 (mm, mid hip at the origin),
PCK and CPS of the nearest, coverage per joint, and the energy score of whole poses. Coverage: the truth counts as
inside where its Mahalanobis distance, under the samples' mean and covariance, is below that quantile of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

import numpy as np  # noqa: E402  the checkout is on the path only now
import torch  # noqa: E402

from inference.errors import SolveError  # noqa: E402
from inference.shapes import FloatArray  # noqa: E402
from training.hypothesis_metrics import energy_score, hypothesis_errors  # noqa: E402
from training.metrics import aligned_errors, cps, pck, root_errors  # noqa: E402
from training.networks.flow import PoseFlow  # noqa: E402
from training.pose_views import HIPS, pose_views  # noqa: E402
from training.tasks.flow import FlowTask  # noqa: E402
from training.tasks.known import TASKS  # noqa: E402
from training.trainer.checkpoint import FILE, load_weights, read_checkpoint  # noqa: E402
from training.trainer.settings import config_from  # noqa: E402

SAMPLES = 200
LEVELS = (0.5, 0.9, 0.95)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        rows = [row for folder in options.runs for row in evaluated(folder, options.poses, options.seed)]
    except SolveError as error:
        sys.stderr.write(f"evaluate_flow.py: {error}\n")
        return error.exit_code
    sys.stdout.write(table(rows))
    return 0


def evaluated(folder: Path, poses: int, seed: int) -> list[dict[str, str | float]]:
    """Measure a run's averaged weights with one and with four views, and noise about its z = 0.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of another architecture.
    """
    checkpoint = read_checkpoint(folder / FILE)
    config = config_from(dict(checkpoint.facts["config"]), TASKS, str(folder / FILE))
    task = FlowTask(config.tables, config.training.seed)
    model = task.model().eval()
    load_weights(model, checkpoint.part("ema"), str(folder / FILE))
    held_out = task.poses(held_out=True)
    rows = []
    for views in (1, 4):
        batch = pose_views(held_out, seed, views)(0, poses)
        samples, middle, truth = _sampled(model, batch, seed)
        row: dict[str, str | float] = {"model": config.name, "views": views}
        rows.append(row | scores(samples, middle, truth))
        rng = np.random.default_rng(seed)
        sigma = samples.std(axis=0).mean(axis=-1)[None, ..., None]
        around = middle + sigma * rng.normal(size=samples.shape)
        rows.append(row | {"model": f"{config.name}: noise around z = 0"} | scores(around, middle, truth))
    return rows


def _sampled(model: PoseFlow, batch: dict[str, torch.Tensor], seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return samples (M, N, J, 3), the pose of z = 0 (N, J, 3) and the truth (N, J, 3), m."""
    numbers = torch.Generator().manual_seed(seed)
    mean, factor = batch["mean"], batch["factor"]
    with torch.no_grad():
        z = torch.randn(len(mean), SAMPLES, mean[0].numel(), generator=numbers)
        samples = model.sample(mean, factor, z)
        middle = model.sample(mean, factor, torch.zeros_like(z[:, :1]))[:, 0]
    return samples.transpose(0, 1).double().numpy(), middle.double().numpy(), batch["xyz"].double().numpy()


def scores(samples: FloatArray, middle: FloatArray, truth: FloatArray) -> dict[str, float]:
    """Summarise samples (M, N, J, 3) with their middle pose and the truth (N, J, 3), m; errors in mm."""
    errors = 1000 * root_errors(samples, truth, HIPS)
    summary = hypothesis_errors(errors)
    nearest = np.take_along_axis(errors, errors.mean(axis=-1).argmin(axis=0)[None, :, None], axis=0)[0]
    flat = samples.reshape(*samples.shape[:2], -1)
    inside = coverages(samples, truth)
    return {
        "best": summary.best,
        "mean": summary.mean,
        "worst": summary.worst,
        "z = 0": _mm(middle, truth),
        "PCK": 100 * pck(nearest, 150.0),
        "CPS": cps(1000 * aligned_errors(samples, truth), 1.0),
        **{f"cov {100 * level:.0f}": 100 * share for level, share in zip(LEVELS, inside, strict=True)},
        "energy": float(1000 * energy_score(flat, truth.reshape(len(truth), -1)).mean()),
    }


def coverages(samples: FloatArray, truth: FloatArray) -> list[float]:
    """Return the share of joints whose truth lies within each of `LEVELS`; samples (M, N, J, 3), truth (N, J, 3)."""
    centre = samples.mean(axis=0)
    apart = samples - centre
    covariance = np.einsum("mnji,mnjk->njik", apart, apart) / (len(samples) - 1)
    inverse = np.linalg.inv(covariance)
    own = np.einsum("mnji,njik,mnjk->mnj", apart, inverse, apart)
    miss = truth - centre
    distance = np.einsum("nji,njik,njk->nj", miss, inverse, miss)
    return [float((distance <= np.quantile(own, level, axis=0)).mean()) for level in LEVELS]


def table(rows: Sequence[dict[str, str | float]]) -> str:
    """Lay rows out as Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names)]
    lines += [
        [f"{row[name]:.1f}" if isinstance(row[name], float) else str(row[name]) for name in names] for row in rows
    ]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _mm(middle: FloatArray, truth: FloatArray) -> float:
    return float(1000 * root_errors(middle, truth, HIPS).mean())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate_flow.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a training")
    parser.add_argument("--poses", type=int, default=200, help="held-out poses, each of one drawn person")
    parser.add_argument("--seed", type=int, default=5, help="of cameras, noise and samples")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Measure a trained flow on held-out people: ``python training/evaluate_flow.py RUN [RUN …] --poses 200 --seed 5``.

Prints rows for training/RESULTS.md: nearest, mean and farthest of 200 samples and z = 0 (mm, mid hip at the origin),
PCK and CPS of the nearest, coverage per joint, and the energy score of whole poses. Coverage: the truth counts as
inside where its Mahalanobis distance, under the samples' mean and covariance, is below that quantile of their own.
Two rows stand against each flow: independent noise of the same spread about its z = 0, and the Gaussian with the mean
and covariance of its own samples. ``--calibrate`` first finds the temperatures by coverage on the calibration part,
and keeps them in the run.
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

from inference.errors import InputError, SolveError  # noqa: E402
from inference.shapes import FloatArray  # noqa: E402
from training.heatmap_poses import H36M, heatmap_poses, rooted  # noqa: E402
from training.hypothesis_metrics import energy_score, hypothesis_errors  # noqa: E402
from training.metrics import aligned_errors, cps, pck, root_errors  # noqa: E402
from training.networks.flow import PoseFlow  # noqa: E402
from training.networks.paper_flow import LATENT, PaperFlow  # noqa: E402
from training.pose_views import HIPS, pose_views, whitened  # noqa: E402
from training.tasks.flow import FlowTask, middle_poses, sampled_poses  # noqa: E402
from training.tasks.known import TASKS  # noqa: E402
from training.tasks.paper_flow import PaperFlowTask, sampled  # noqa: E402
from training.trainer.checkpoint import FILE, Checkpoint, load_weights, read_checkpoint, write_checkpoint  # noqa: E402
from training.trainer.settings import config_from  # noqa: E402
from training.trainer.task import Batch  # noqa: E402

SAMPLES = 200
LEVELS = (0.5, 0.9, 0.95)
PELVIS = [H36M.index("pelvis")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        for folder in options.runs if options.calibrate else ():
            found = calibrate(folder, options.poses, options.seed)
            sys.stdout.write(f"{folder}: temperatures {found[0]:.3f} (depth), {found[1]:.3f} (the rest)\n")
        rows = [row for folder in options.runs for row in evaluated(folder, options)]
    except SolveError as error:
        sys.stderr.write(f"evaluate_flow.py: {error}\n")
        return error.exit_code
    sys.stdout.write(table(rows))
    return 0


def trained(folder: Path) -> tuple[Checkpoint, FlowTask, PoseFlow]:
    """Return a calibrated flow's checkpoint, task, and network with the averaged weights.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of another kind of model.
    """
    checkpoint, task, model = _loaded(folder)
    if not (isinstance(task, FlowTask) and isinstance(model, PoseFlow)):
        raise InputError(
            f"{folder}: this is no calibrated flow; name the run of a configuration with mode = calibrated"
        )
    return checkpoint, task, model


def _loaded(folder: Path) -> tuple[Checkpoint, FlowTask | PaperFlowTask, PoseFlow | PaperFlow]:
    checkpoint = read_checkpoint(folder / FILE)
    config = config_from(dict(checkpoint.facts["config"]), TASKS, str(folder / FILE))
    if config.system != "flow":
        raise InputError(f"{folder}: a run of the system {config.system!r}, not of 'flow'")
    paper = config.task == "paper"
    task = (PaperFlowTask if paper else FlowTask)(config.tables, config.training.seed)
    model = task.network().eval()
    load_weights(model, checkpoint.part("ema"), str(folder / FILE))
    return checkpoint, task, model


def evaluated(folder: Path, options: argparse.Namespace) -> list[dict[str, str | float]]:
    """Measure a run's averaged weights with each number of views, and what it has to beat.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of another architecture.
    """
    checkpoint, task, model = _loaded(folder)
    name, seed = str(checkpoint.facts["config"].get("name", folder.name)), options.seed
    held_out = task.poses("held_out")
    if isinstance(task, PaperFlowTask):
        assert isinstance(model, PaperFlow)
        made = heatmap_poses(held_out, seed, task.data.noise_m)(0, options.poses)
        return _rows({"model": name, "views": 1}, *_paper_samples(model, made, seed), PELVIS, seed)
    assert isinstance(model, PoseFlow)
    rows = []
    for views in options.views:
        found = _sampled(model, held_out, task.data.noise_m, views, options.poses, seed)
        rows += _rows({"model": name, "views": views}, *found, HIPS, seed)
    return rows


def _rows(
    head: dict[str, str | float],
    samples: FloatArray,
    middle: FloatArray,
    truth: FloatArray,
    root: list[int],
    seed: int,
) -> list[dict[str, str | float]]:
    """Score a flow, noise about its z = 0, and the Gaussian of its samples."""
    rng = np.random.default_rng(seed)
    sigma = samples.std(axis=0).mean(axis=-1)[None, ..., None]
    around = middle + sigma * rng.normal(size=samples.shape)
    gaussian = same_moments(samples, rng)
    return [
        head | scores(samples, middle, truth, root),
        head | {"model": f"{head['model']}: noise around z = 0"} | scores(around, middle, truth, root),
        head
        | {"model": f"{head['model']}: Gaussian of its samples"}
        | scores(gaussian, samples.mean(axis=0), truth, root),
    ]


def _paper_samples(model: PaperFlow, made: Batch, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return samples (M, N, 17, 3), the pose of z = 0 (N, 17, 3) and the truth, m about the pelvis."""
    numbers = torch.randn(len(made["y"]), SAMPLES + 1, LATENT, generator=torch.Generator().manual_seed(seed))
    numbers[:, 0] = 0
    with torch.no_grad():
        poses = rooted(sampled(model, made["y"], model.context(made["condition"]), numbers)).double().numpy()
    return np.swapaxes(poses[:, 1:], 0, 1), poses[:, 0], made["truth"].double().numpy()


def _sampled(
    model: PoseFlow, poses: torch.Tensor, noise_m: float, views: int, count: int, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return samples (M, N, J, 3), the pose of z = 0 (N, J, 3) and the truth (N, J, 3), m."""
    seen, prior = pose_views(poses, seed, views, noise_m)(0, count), model.prior()
    features = whitened(seen, prior)["features"]
    samples = sampled_poses(model, features, seen, prior, SAMPLES, seed)
    return np.swapaxes(samples, 0, 1), middle_poses(model, features, seen, prior), seen.xyz


def same_moments(samples: FloatArray, rng: np.random.Generator) -> FloatArray:  # (M, N, J, 3)
    """Draw as many samples from the Gaussian of each pose's samples: what is lost is all that is not Gaussian."""
    m, n = samples.shape[:2]
    apart = (samples - samples.mean(axis=0)).reshape(m, n, -1)
    mixed = rng.normal(size=(n, m, m)) / np.sqrt(m - 1)  # combinations of the samples have their covariance
    return samples.mean(axis=0) + np.einsum("nkm,mnd->knd", mixed, apart).reshape(samples.shape)


def calibrate(folder: Path, count: int, seed: int) -> tuple[float, float]:
    """Find the temperatures under which the calibration part is covered, and write them into the checkpoint.

    One view sees little of the depth, four views all of it: the former says how warm the depth patterns are, the
    latter then the rest. Coverage of 50 and 90 % is fitted by bisection.
    """
    checkpoint, task, model = trained(folder)
    poses = task.poses("calibration")
    temperature: torch.Tensor = model.get_buffer("temperature")
    for _ in range(2):
        for index, views in ((0, 1), (1, 4)):
            low, high = 0.6, 1.8
            for _ in range(7):
                temperature[index] = (low + high) / 2
                samples, _, truth = _sampled(model, poses, task.data.noise_m, views, count, seed + 1)
                found = coverages(samples, truth)
                narrow = found[0] + found[1] < LEVELS[0] + LEVELS[1]
                low, high = ((low + high) / 2, high) if narrow else (low, (low + high) / 2)
    tensors = {**checkpoint.tensors, "ema/temperature": temperature, "model/temperature": temperature}
    write_checkpoint(folder / FILE, Checkpoint(tensors, checkpoint.facts))
    return float(temperature[0]), float(temperature[1])


def scores(samples: FloatArray, middle: FloatArray, truth: FloatArray, root: list[int]) -> dict[str, float]:
    """Summarise samples (M, N, J, 3) with their middle pose and the truth (N, J, 3), m; errors in mm."""
    errors = 1000 * root_errors(samples, truth, root)
    summary = hypothesis_errors(errors)
    nearest = np.take_along_axis(errors, errors.mean(axis=-1).argmin(axis=0)[None, :, None], axis=0)[0]
    flat = samples.reshape(*samples.shape[:2], -1)
    inside = coverages(samples, truth)
    return {
        "best": summary.best,
        "mean": summary.mean,
        "worst": summary.worst,
        "z = 0": float(1000 * root_errors(middle, truth, root).mean()),
        "PCK": 100 * pck(nearest, 150.0),
        "CPS": cps(1000 * aligned_errors(samples, truth), 1.0),
        **{f"cov {100 * level:.0f}": 100 * share for level, share in zip(LEVELS, inside, strict=True)},
        "energy": float(1000 * energy_score(flat, truth.reshape(len(truth), -1)).mean()),
    }


def coverages(samples: FloatArray, truth: FloatArray) -> list[float]:
    """Return the share of joints whose truth lies within each of `LEVELS`; samples (M, N, J, 3), truth (N, J, 3)."""
    free = samples.std(axis=0).max(axis=(0, 2)) > 0  # a root at the origin is always right
    samples, truth = samples[:, :, free], truth[:, free]
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate_flow.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a training")
    parser.add_argument("--poses", type=int, default=200, help="held-out poses, each of one drawn person")
    parser.add_argument("--seed", type=int, default=5, help="of cameras, noise and samples")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4], help="how many see each pose, 1 to 4")
    parser.add_argument("--calibrate", action="store_true", help="find the temperatures first")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Calibrate spatial uncertainty: ``python training/calibrate_spatial.py RUN --out DIR``.

The network of the views stands still. What is learned is how true its covariances are in space, for two to eight
random cameras, from the simulated truth: labels in pictures fix the shape of the error but not quite its size, for
their own noise is as large. DIR gets RUN's checkpoint with five things of it exchanged: factor, correlation of views
and shared deviation of each joint, and the two degrees of freedom.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

import torch  # noqa: E402  the checkout is on the path only now
from torch import Tensor  # noqa: E402

from inference.errors import InputError, SolveError  # noqa: E402
from training.evaluate_spatial import open_spatial  # noqa: E402
from training.multi_view import Rig, multi_view_samples  # noqa: E402
from training.networks.spatial import SpatialNetwork  # noqa: E402
from training.sources import Source  # noqa: E402
from training.stick_figures import solid_poses  # noqa: E402
from training.tasks.spatial import estimated  # noqa: E402
from training.trainer.checkpoint import FILE, Checkpoint, read_checkpoint, write_checkpoint  # noqa: E402
from training.triangulation import MOST_SIGMA_M, Points, linear_points, refined_points  # noqa: E402

LEARNED = ("raw_inflation", "raw_correlation", "raw_shared", "raw_prior", "raw_freedom")
_POSES = 4_000
_BATCH, _RATE = 64, 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        if (options.out / FILE).exists():
            raise InputError(f"{options.out} holds a run already: name another folder with --out")
        _, task, model = open_spatial(options.run)
        if model.mode != "fused":
            raise InputError(f"{options.run} has the mode {model.mode!r}: only fused covariances can be calibrated")
        poses = solid_poses(_POSES, options.seed)
        source = multi_view_samples(poses, Rig("random", options.views), task.data.size, options.seed)
        calibrate(model, *located(model, source, options.samples), options.steps)
        checkpoint = read_checkpoint(options.run / FILE)
        options.out.mkdir(parents=True, exist_ok=True)
        write_checkpoint(options.out / FILE, with_learned(checkpoint, model))
    except SolveError as error:
        sys.stderr.write(f"calibrate_spatial.py: {error}\n")
        return error.exit_code
    return 0


def located(model: SpatialNetwork, source: Source, samples: int, size: int = 16) -> tuple[Points, Tensor, Tensor]:
    """Return the points of the first samples as the views place them, the truth (N, J, 3), and counts of views (N, 1).

    All of it stays the same while the model is calibrated, and is computed once.
    """
    parts, truths, counts = [], [], []
    for first in range(0, samples, size):
        batch = source(first, min(size, samples - first))
        P, seen = batch["projection"], batch["seen"]
        with torch.no_grad():
            found = estimated(model, batch)
            start = linear_points(P, found.xy, seen, batch["centre"])
            points = refined_points(start, P, found.xy, found.view_factor, found.view_nu, seen)
        parts.append(points._replace(good=start.good & points.good))
        truths.append(batch["xyz"].double())
        counts.append(seen.sum(dim=1, keepdim=True))
    return Points(*(torch.cat(part) for part in zip(*parts, strict=True))), torch.cat(truths), torch.cat(counts)


def calibrate(model: SpatialNetwork, points: Points, truth: Tensor, count: Tensor, steps: int) -> None:
    """Find the likeliest values of what `LEARNED` names, by Adam with a cosine schedule."""
    learned = [model.get_parameter(name) for name in LEARNED]
    optimiser = torch.optim.Adam(learned, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=_RATE / 100)
    numbers = torch.Generator().manual_seed(1)
    for _ in range(steps):
        some = torch.randperm(len(truth), generator=numbers)[:_BATCH]
        loss = truth_loss(model, Points(*(part[some] for part in points)), truth[some], count[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def truth_loss(model: SpatialNetwork, points: Points, truth: Tensor, count: Tensor) -> Tensor:
    """Negative log-likelihood, nats, of the truth (N, J, 3) under each joint's Student t, of the joints that are told.

    Samples of n views weigh 1 / (n − 1): few views are what most people have, and what they get wrong is larger, so
    that without a weight many views, whose likelihood is steeper, would decide.
    """
    xyz, root, nu, determined = model.stated(points, count)
    told = determined & (torch.linalg.eigvalsh((root @ root.mT).detach())[..., -1] < MOST_SIGMA_M**2)
    error = torch.where(told[..., None], truth - xyz, 0.0)
    white = torch.linalg.solve_triangular(root, error[..., None], upper=False)[..., 0]
    values = (
        root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        + (nu + 3) / 2 * torch.log1p(white.square().sum(dim=-1) / nu)
        + (nu / 2).lgamma()
        - ((nu + 3) / 2).lgamma()
        + 1.5 * (nu * math.pi).log()
    )
    weight = told / (count - 1).clamp(min=1)
    return (values * weight).sum() / weight.sum().clamp(min=1e-9)


def with_learned(checkpoint: Checkpoint, model: SpatialNetwork) -> Checkpoint:
    """Put what was learned in place of a run's own."""
    tensors = dict(checkpoint.tensors)
    for name in LEARNED:
        for part in ("model", "ema"):
            tensors[f"{part}/{name}"] = model.get_parameter(name).detach().clone()
    return Checkpoint(tensors, {**checkpoint.facts, "calibrated": True})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibrate_spatial.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the calibrated run")
    parser.add_argument("--views", type=int, default=8, help="at most, of random rigs of two or more")
    parser.add_argument("--samples", type=int, default=900, help="sets of views")
    parser.add_argument("--steps", type=int, default=250, help="of the fit")
    parser.add_argument("--seed", type=int, default=5, help="of poses, cameras and pictures")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Ship what spatial uncertainty has learned: ``python training/export_spatial.py RUN --out F.onnx [--parity F.npz]``.

Writes the network of the views and its card F.toml. The card's ``[noise]`` holds what the labels of several views have
taught: the degrees of freedom of each joint, and by how much its covariance has to be wider than the views' own so that
their fused information is true. A solve reads it as that of any detector.
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

import numpy as np  # noqa: E402  the checkout is on the path only now
import torch  # noqa: E402

from inference.errors import InputError, SolveError  # noqa: E402
from inference.perception.card import KeypointNoise  # noqa: E402
from training.evaluate_spatial import open_spatial  # noqa: E402
from training.exporting import CardFacts, Shipped, card_text, check_parity, export  # noqa: E402
from training.multi_view import JOINT_NAMES, Rig  # noqa: E402
from training.networks.keypoints import ShippedKeypoints  # noqa: E402
from training.networks.spatial import SpatialNetwork  # noqa: E402
from training.tasks.spatial import judged, spatial_scores  # noqa: E402
from training.trainer.checkpoint import FILE, read_checkpoint  # noqa: E402

_LEAST_SIGMA_PX = 0.05  # a card wants more than none
_OUTPUTS = {"keypoints": "keypoints", "covariance": "covariance", "scores": "scores"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        _export(options)
        return 0
    except SolveError as error:
        sys.stderr.write(f"export_spatial.py: {error}\n")
        return error.exit_code


def learned_noise(model: SpatialNetwork) -> dict[str, KeypointNoise]:
    """Return what a network has learned of each joint's keypoints, as a card states it.

    Information is homogeneous: widening every view's covariance by a factor widens the fused one by the same. So the
    inflation of the joint in space is a factor on the covariance in each view. What all views get wrong alike is its
    placement, and how far they are wrong together the correlation of views.
    """
    learned = (model.inflation(), model.views.degrees_of_freedom(), model.shared_m(), model.correlation())
    rows = zip(JOINT_NAMES, *(each.detach().tolist() for each in learned), strict=True)
    return {
        name: KeypointNoise(
            _LEAST_SIGMA_PX, heatmap_scale=math.sqrt(wider), nu=freedom, placement_m=shared, view_correlation=together
        )
        for name, wider, freedom, shared, together in rows
    }


def _export(options: argparse.Namespace) -> None:
    if options.out.suffix != ".onnx":
        raise InputError(f"--out {options.out}: name a file that ends in .onnx")
    name, task, model = open_spatial(options.run)
    if model.mode != "fused":
        raise InputError(f"{options.run} has the mode {model.mode!r}: only what views say by themselves can be shipped")
    facts = read_checkpoint(options.run / FILE).facts
    shipped = Shipped(ShippedKeypoints(model.views), _OUTPUTS, task.data.size, "regression")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    export(shipped, options.out)
    pictures = task.source(Rig("ring", 4), held_out=True)(0, 1)["image"][0].float().numpy() / 255
    parity = check_parity(shipped, options.out, pictures.astype(np.float32))
    if options.parity:
        np.savez(options.parity, **parity)
    rig = Rig(task.data.rig, task.data.views)
    scores = spatial_scores(judged(model, task.source(rig, held_out=True), options.samples))
    card = CardFacts(
        name=options.out.stem,
        licence="CC0-1.0",
        provenance=f"trained by Sightline at commit {facts['commit'] or 'unknown'} with the configuration {name}: "
        f"{facts['step']} steps on bodies of lines (training/multi_view.py); for tests, it has seen no people",
        layout="sightline_29",
        person_detector=options.person_detector,
        accuracy={
            "measured": f"{options.samples} held-out samples of the rig {task.data.rig!r}, joints in space",
            **scores,
        },
        noise=learned_noise(model),
    )
    options.out.with_suffix(".toml").write_text(card_text(shipped, card, options.out), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="export_spatial.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument("--out", type=Path, required=True, metavar="F.onnx")
    parser.add_argument("--parity", type=Path, metavar="F.npz", help="inputs and the torch model's outputs")
    parser.add_argument("--person-detector", default="blazepose_detector", help="card that finds the people to look at")
    parser.add_argument("--samples", type=int, default=64, help="held-out samples to judge on")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return parser


if __name__ == "__main__":
    sys.exit(main())

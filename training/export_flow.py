"""Ship a trained flow: ``python training/export_flow.py RUN --out F.onnx``; beside it the facts, ``F.toml``.

The sampling direction: ``z`` (N, S, 3J) and ``features`` (N, 15J) → whitened poses ``u`` (N, S, 3J), and the prior that
whitens as constants: ``prior_mean``, ``prior_covariance``, ``prior_patterns``; see inference/perception/flow.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

import numpy as np  # noqa: E402  the checkout is on the path only now
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from inference.errors import InputError, SolveError  # noqa: E402
from inference.perception.card import sha256_of  # noqa: E402
from inference.perception.session import Session  # noqa: E402
from training.evaluate_flow import trained  # noqa: E402
from training.networks.flow import PoseFlow  # noqa: E402
from training.pose_views import pose_views, stick_poses, whitened  # noqa: E402
from training.trainer.checkpoint import Checkpoint  # noqa: E402

_PARITY = 1e-3  # of whitened poses


class Sampler(nn.Module):
    """`PoseFlow.sample` as a network of its own, with the prior beside it."""

    def __init__(self, flow: PoseFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        """Return whitened poses (N, S, 3J) and the prior's mean, covariance and patterns."""
        nothing = 0 * features[0, 0]  # the exporter drops outputs that depend on no input
        constants = [self.flow.get_buffer(f"prior_{name}") + nothing for name in ("mean", "covariance", "patterns")]
        return self.flow.sample(features, z), *constants


def main(arguments: Sequence[str] | None = None) -> int:
    """Export as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="export_flow.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument("--out", type=Path, required=True, metavar="F.onnx")
    options = parser.parse_args(arguments)
    try:
        export_run(options.run, options.out)
    except SolveError as error:
        sys.stderr.write(f"export_flow.py: {error}\n")
        return error.exit_code
    return 0


def export_run(run: Path, out: Path) -> None:
    """Write the averaged weights of a run as ONNX with its card.

    Raises:
        InputError: there is no usable checkpoint, ``out`` is no .onnx, or ONNX Runtime gives other poses.
    """
    if out.suffix != ".onnx":
        raise InputError(f"--out {out}: name a file that ends in .onnx")
    checkpoint, _, model = trained(run)
    draft = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        worst = export(model, draft)
        os.replace(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    size = [15 * model.joints, 1]
    lines = [
        "# Standard normal numbers and what the views say (inference/perception/flow.py) become whitened body poses.",
        *(f"{key} = {json.dumps(value)}" for key, value in _facts(checkpoint, out).items()),
        *("", "[input]", 'name = "features"', f"size = {size}", "", "[outputs]", 'poses = "u"', "", "[accuracy]"),
        f"parity = {worst:.2g}  # largest difference of ONNX Runtime from PyTorch, whitened",
    ]
    out.with_suffix(".toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _facts(checkpoint: Checkpoint, out: Path) -> dict[str, str]:
    return {
        **{"name": out.stem, "kind": "flow", "layout": "sightline_29", "file": out.name, "sha256": sha256_of(out)},
        "licence": "GPL-3.0-or-later",
        "provenance": f"trained by training/train.py (system flow) at commit {checkpoint.facts['commit']}, "
        f"{checkpoint.facts['step']} steps, on motion of the CMU Graphics Lab (mocap.cs.cmu.edu, free for any use, "
        "created with funding from NSF EIA-0196217) and of DeepMimic (MIT) on MakeHuman bodies (CC0), "
        "with drawn cameras and keypoint errors",
    }


def export(model: PoseFlow, path: Path) -> float:
    """Write the sampling direction; return the largest difference of ONNX Runtime's poses, whitened.

    Raises:
        InputError: it is above `_PARITY`.
    """
    numbers = torch.Generator().manual_seed(3)
    d = 3 * model.joints

    def inputs(frames: int, samples: int) -> tuple[Tensor, Tensor]:
        z = torch.randn(frames, samples, d, generator=numbers)
        seen = pose_views(stick_poses(frames, 3), 3, noise_m=0.01)(0, frames)
        return z, whitened(seen, model.prior())["features"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter tells of its own end and of shapes that it keeps
        torch.onnx.export(
            Sampler(model).eval(),
            inputs(2, 5),
            str(path),
            input_names=["z", "features"],
            output_names=["u", "prior_mean", "prior_covariance", "prior_patterns"],
            dynamic_axes={"z": {0: "N", 1: "S"}, "features": {0: "N"}, "u": {0: "N", 1: "S"}},
            opset_version=17,
            dynamo=False,
        )
    z, features = inputs(16, 50)
    (u,) = Session(path, "cpu").run_named({"z": z.numpy(), "features": features.numpy()}, ["u"])
    with torch.no_grad():
        worst = float(np.abs(u - model.sample(features, z).numpy()).max())
    if not worst <= _PARITY:
        raise InputError(f"{path}: ONNX Runtime's poses differ from PyTorch's by {worst:.2g} (whitened)")
    return worst


if __name__ == "__main__":
    sys.exit(main())

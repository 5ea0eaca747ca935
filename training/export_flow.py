"""Ship a trained flow: ``python training/export_flow.py RUN --out F.onnx``; beside it the facts, ``F.toml``.

The sampling direction: ``z`` (N, S, 3J), ``mean`` (N, J, 3) m, ``factor`` (N, J, 3, 3) m → ``poses`` (N, S, J, 3) m.
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
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from inference.errors import InputError, SolveError  # noqa: E402
from inference.perception.card import sha256_of  # noqa: E402
from training.networks.flow import PoseFlow  # noqa: E402
from training.tasks.flow import FlowTask  # noqa: E402
from training.tasks.known import TASKS  # noqa: E402
from training.trainer.checkpoint import FILE, load_weights, read_checkpoint  # noqa: E402
from training.trainer.settings import config_from  # noqa: E402

_PARITY_M = 1e-3


class Sampler(nn.Module):
    """`PoseFlow.sample` as a network of its own."""

    def __init__(self, flow: PoseFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
        """Return poses (N, S, J, 3) m."""
        return self.flow.sample(mean, factor, z)


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
    checkpoint = read_checkpoint(run / FILE)
    config = config_from(dict(checkpoint.facts["config"]), TASKS, str(run / FILE))
    model = FlowTask(config.tables, config.training.seed).model().eval()
    load_weights(model, checkpoint.part("ema"), str(run / FILE))
    draft = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        worst = export(model, draft)
        os.replace(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    facts = {
        **{"name": out.stem, "kind": "flow", "layout": "sightline_29", "file": out.name, "sha256": sha256_of(out)},
        **{"licence": "GPL-3.0-or-later", "commit": checkpoint.facts["commit"], "steps": checkpoint.facts["step"]},
        "data": "CMU Graphics Lab motion (free for any use) on MakeHuman bodies (CC0), drawn cameras and noise",
        "axes": "first camera's, origin at the estimate of the pelvis, m",
        "parity_m": worst,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in facts.items()]
    out.with_suffix(".toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def export(model: PoseFlow, path: Path) -> float:
    """Write the sampling direction; return the largest difference of ONNX Runtime's poses, m.

    Raises:
        InputError: it is above a millimetre.
    """
    numbers = torch.Generator().manual_seed(3)
    j = model.joints
    mean = 0.3 * torch.randn(2, j, 3, generator=numbers)
    factor = (0.1 * torch.eye(3)).expand(2, j, 3, 3).contiguous()
    z = torch.randn(2, 5, 3 * j, generator=numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter tells of its own end and of shapes that it keeps
        torch.onnx.export(
            Sampler(model).eval(),
            (z, mean, factor),
            str(path),
            input_names=["z", "mean", "factor"],
            output_names=["poses"],
            dynamic_axes={"z": {0: "N", 1: "S"}, "mean": {0: "N"}, "factor": {0: "N"}, "poses": {0: "N", 1: "S"}},
            opset_version=17,
            dynamo=False,
        )
    mean, factor, z = mean[:1].repeat(3, 1, 1), factor[:1].repeat(3, 1, 1, 1), torch.randn(3, 7, 3 * j)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {"z": z.numpy(), "mean": mean.numpy(), "factor": factor.numpy()}
    (poses,) = session.run(None, given)
    with torch.no_grad():
        worst = float(np.abs(np.asarray(poses) - model.sample(mean, factor, z).numpy()).max())
    if not worst <= _PARITY_M:
        raise InputError(f"{path}: ONNX Runtime's poses differ from PyTorch's by {worst:.2g} m")
    return worst


if __name__ == "__main__":
    sys.exit(main())

"""Ship a trained model: ``python training/export_onnx.py RUN --out F.onnx [--precision int8] [--parity F.npz]``.

Writes the network and, beside it, its model card ``F.toml``: data, licences, commit, hash, and what was measured on
held-out samples through ONNX Runtime and the decoder of `inference`: accuracy, calibration of the covariance, and for
fp16 and int8 the change against fp32. ``python -m inference models add F.toml`` makes it a detector of this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

import numpy as np  # noqa: E402  the checkout is on the path only now

from inference.errors import InputError, SolveError  # noqa: E402
from training.exporting import PRECISIONS, card_text, check_parity, export, halve, quantise  # noqa: E402
from training.shipping import Run, card_facts, judged, open_run  # noqa: E402
from training.trainer.checkpoint import write_weights  # noqa: E402

_PARITY_PICTURES = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Export as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        run = open_run(options.run, options.views)
        with tempfile.TemporaryDirectory() as folder:
            _export(run, options, Path(folder))
        return 0
    except SolveError as error:
        sys.stderr.write(f"export_onnx.py: {error}\n")
        return error.exit_code


def _export(run: Run, options: argparse.Namespace, drafts: Path) -> None:
    """Make everything in a folder of drafts, then put it in place: nothing half-done is left behind."""
    if options.out.suffix != ".onnx":
        raise InputError(f"--out {options.out}: name a file that ends in .onnx")
    plain, final = drafts / "plain.onnx", drafts / options.out.name
    export(run.shipped, plain)
    parity = check_parity(run.shipped, plain, run.pictures[0][:_PARITY_PICTURES])
    if options.precision == "fp16":
        halve(plain, final)
    elif options.precision == "int8":
        quantise(plain, final, run.pictures)
    else:
        plain.replace(final)
    network = plain if options.precision != "fp32" else None
    findings = judged(run, final, network)
    facts = card_facts(run, options.out.stem, options.precision, options.person_detector, findings)
    card = drafts / f"{options.out.stem}.toml"
    card.write_text(card_text(run.shipped, facts, final), encoding="utf-8")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.parity:
        with (drafts / "parity.npz").open("wb") as file:
            np.savez(file, **parity)
        _place(drafts / "parity.npz", options.parity)
    if options.weights:
        write_weights(drafts / "weights", run.checkpoint.part("ema"), run.checkpoint.facts)
        _place(drafts / "weights", options.out.with_suffix(".safetensors"))
    _place(final, options.out)
    _place(card, options.out.with_suffix(".toml"))


def _place(draft: Path, path: Path) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(draft.read_bytes())
    os.replace(beside, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="export_onnx.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument("--out", type=Path, required=True, metavar="F.onnx")
    parser.add_argument("--parity", type=Path, metavar="F.npz", help="inputs and the torch model's outputs")
    parser.add_argument("--weights", action="store_true", help="also F.safetensors, for train.py --start")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--person-detector", default="blazepose_detector", help="card that finds the people to look at")
    parser.add_argument("--views", type=int, default=0, help="held-out samples to judge on; 0 = as in the config")
    return parser


if __name__ == "__main__":
    sys.exit(main())

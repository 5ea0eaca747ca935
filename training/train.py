"""Train a model: ``python training/train.py CONFIG.toml --out RUN [--smoke] [--resume | --start F | --backbone F]``.

Writes ``RUN/checkpoint.safetensors`` and ``RUN/tensorboard``; JSON lines with ``loss`` on stdout. On several GPUs or
machines: ``torchrun --nproc-per-node N training/train.py …``. Exit codes: 0 done, 2 the input is wrong, 3 the training
failed (a loss that is not finite; in a smoke run, one that does not fall), 130 cancelled.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

import torch  # noqa: E402  the checkout is on the path only now

from inference.errors import InputError, SolveError  # noqa: E402
from training.tasks.known import TASKS  # noqa: E402
from training.trainer.checkpoint import FILE, read_checkpoint  # noqa: E402
from training.trainer.loop import Options, Result, TrainingError, train  # noqa: E402
from training.trainer.place import Place, close_place, open_place  # noqa: E402
from training.trainer.settings import Config, read_config  # noqa: E402

_SMOKE_MINUTES = 1.6


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    # Small networks on several threads of a busy machine are many times slower than on one.
    threads = options.threads or (1 if options.smoke else 0)
    if threads:
        torch.set_num_threads(threads)
    try:
        config = read_config(options.config, TASKS)
        place = open_place("cpu" if options.smoke and options.device == "auto" else options.device)
        try:
            return _run(config, options, place)
        finally:
            close_place(place)
    except SolveError as error:
        sys.stderr.write(f"train.py: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("train.py: cancelled; the last checkpoint stands\n")
        return 130


def _run(config: Config, options: argparse.Namespace, place: Place) -> int:
    kind = TASKS[config.system][config.task]
    tables, settings, minutes = config.tables, config.training, options.minutes
    if options.smoke:
        tables, settings = kind.smoke(tables, settings)
        minutes = min(minutes, _SMOKE_MINUTES)
    _check_folder(options.out, options.resume)
    config = dataclasses.replace(config, tables=tables, training=settings)
    task = kind(tables, settings.seed)
    begun = _began_with(options)
    facts = facts_of(config) | ({"started_from": begun} if begun else {})
    how = Options(options.out, options.resume, minutes, facts, options.start, options.backbone)
    result = train(task, settings, how, place)
    if options.smoke:
        check_fall(result)
    return 0


def _began_with(options: argparse.Namespace) -> str:
    """Return what the training is or was started from, "" if from nothing."""
    if options.start:
        return str(options.start)
    if options.backbone:
        return f"{options.backbone} (its backbone)"
    return str(read_checkpoint(options.out / FILE).facts.get("started_from", "")) if options.resume else ""


def facts_of(config: Config) -> dict[str, object]:
    """Return what a checkpoint says about where it comes from, as plain values."""
    tables = {name: dataclasses.asdict(table) for name, table in config.tables.items()}
    return {
        "config": {
            **{"system": config.system, "task": config.task, "name": config.name},
            **{"training": dataclasses.asdict(config.training), **tables},
        },
        "commit": commit(),
        "torch": torch.__version__,
    }


def commit() -> str:
    """Return the commit of this checkout, ``+`` behind it where files differ; empty outside of one."""
    try:
        name = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name.stdout.strip() + ("+" if changed.stdout.strip() else "")


def check_fall(result: Result) -> None:
    """Raise unless the last losses are well below the first.

    Raises:
        TrainingError: they are not.
    """
    count = max(1, len(result.losses) // 5)
    first, last = (sum(part) / count for part in (result.losses[:count], result.losses[-count:]))
    if len(result.losses) < 10 or not last < first - 0.05 * abs(first):
        raise TrainingError(
            f"the loss did not fall: {first:.4g} over the first {count} steps, {last:.4g} over the last "
            f"({len(result.losses)} steps in {result.seconds:.0f} s)"
        )


def _check_folder(out: Path, resume: bool) -> None:
    if (out / FILE).exists() and not resume and int(os.environ.get("RANK", "0")) == 0:
        raise InputError(f"{out} holds a checkpoint already: go on with --resume, or name another folder with --out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--out", type=Path, default=Path("out") / "training", metavar="RUN", help="folder of the run")
    parser.add_argument("--smoke", action="store_true", help="a minute on a CPU; fails unless the loss falls")
    beginning = parser.add_mutually_exclusive_group()
    beginning.add_argument("--start", type=Path, metavar="F.safetensors", help="weights to begin with")
    beginning.add_argument(
        "--backbone", type=Path, metavar="F.safetensors", help="a model whose backbone to begin with"
    )
    beginning.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="N", help="end within this time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch on a CPU; 0 = its own choice")
    return parser


if __name__ == "__main__":
    sys.exit(main())

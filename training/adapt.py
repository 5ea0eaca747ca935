"""Adapt a detector to a shoot: ``python training/adapt.py TAKE.toml [TAKE.toml …] --out DIR [--start WEIGHTS]``.

The detector in use (``--teacher``; several: where they agree) sees the takes without one view; geometry says where it
is right; those joints become labels. Without ``--start`` its card learns how wrong it is on this shoot: widths,
standing errors, memory. With ``--start F.safetensors``, weights or a checkpoint of our own detector, that network is
trained on the labels. What was learned is kept only if it is better on held-out frames and on the held-out view,
which took no part in labels or learning.

DIR gets ``evidence.json`` and, where kept, a card with its evidence and a network: ``python -m inference models add
DIR/NAME.toml``. Exit codes: 0 done, kept or not; 2 the input is wrong; 3 a solve or the training failed; 130 cancelled.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

try:
    import torch  # the checkout is on the path only now
except ImportError:
    sys.stderr.write("adapt.py: this Python has no PyTorch: choose one with torch, safetensors, tensorboard and onnx\n")
    raise SystemExit(2) from None

from inference.config import DetectionSettings  # noqa: E402
from inference.errors import Cancelled, InputError, SolveError  # noqa: E402
from inference.perception.card import KeypointNoise, find_card, model_folders  # noqa: E402
from inference.perception.detector import Detector, load_detector  # noqa: E402
from inference.progress import BarProgress, JsonProgress, Progress  # noqa: E402
from inference.worker import listen  # noqa: E402
from training.card_noise import card_with_noise, measured_noise  # noqa: E402
from training.evaluation import errors_on_views  # noqa: E402
from training.exporting import CardFacts, Shipped, card_text, export, noise_lines, toml_value  # noqa: E402
from training.loaders.labelled import LabelledView, in_order  # noqa: E402
from training.networks.backbone import NetworkSettings  # noqa: E402
from training.networks.keypoints import KeypointNetwork, ShippedKeypoints  # noqa: E402
from training.shoot import Shoot, shoot_of  # noqa: E402
from training.tasks.adapt import AdaptTask  # noqa: E402
from training.tasks.known import TASKS  # noqa: E402
from training.train import commit, facts_of  # noqa: E402
from training.trainer.checkpoint import FILE, load_weights, read_checkpoint, read_facts, read_weights  # noqa: E402
from training.trainer.loop import Options, train  # noqa: E402
from training.trainer.place import open_place  # noqa: E402
from training.trainer.settings import Config, read_config  # noqa: E402

CONFIG = ROOT / "training" / "configs" / "adapt.toml"
_SETS = {"frames": "held-out frames", "view": "the held-out camera"}
_ROOM = 0.005  # of PCK, that a better likelihood may cost
_FEW_PX = 1.02  # of the median error, likewise
_UNKNOWN = {"default": KeypointNoise(sigma_px=0.3)}  # of a network that nobody has measured


@dataclass(frozen=True)
class Candidate:
    """A detector with what it scored on each set."""

    card: Path
    scores: dict[str, dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Adapt as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    progress = {"json": JsonProgress, "bar": BarProgress, "none": Progress}[options.progress]()
    if options.listen:
        listen(progress)
    try:
        said = adapt(options, progress)
    except SolveError as error:
        if options.progress == "json":
            _say({"error": str(error), "exit_code": error.exit_code})
        sys.stderr.write(f"adapt.py: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("adapt.py: cancelled\n")
        return Cancelled.exit_code
    _say(said) if options.progress == "json" else sys.stdout.write(said["verdict"] + "\n")
    return 0


def adapt(options: argparse.Namespace, progress: Progress) -> dict[str, str]:
    """Label, learn, judge, and keep what is better; return the verdict and, where kept, the card.

    Raises:
        InputError: takes, weights or teacher cannot be used.
        SolveError: a solve or the training failed.
        Cancelled: the user stopped the work; nothing is kept.
    """
    config = _config(options)
    if (options.out / "evidence.json").exists():
        raise InputError(f"{options.out} holds an adaptation already: name another folder with --out")
    options.out.mkdir(parents=True, exist_ok=True)
    return learn_and_judge(config, options, shoot_of(config.tables["shoot"], progress), progress)


def learn_and_judge(config: Config, options: argparse.Namespace, shoot: Shoot, progress: Progress) -> dict[str, str]:
    """Do what `adapt` does after the labels are made."""
    out: Path = options.out
    name = options.name or f"{Path(config.tables['shoot'].takes[0]).resolve().parent.name}_adapted"
    teacher = find_card(config.tables["shoot"].teachers[0])
    calibrating, judging = shoot.frames[::2], {"frames": shoot.frames[1::2], "view": shoot.view}
    if options.start is None:  # the detector made the labels: those of its own view would flatter it
        judging["frames"] = shoot.others_later
    rows = {"teacher": judged(_card_file(config.tables["shoot"].teachers[0]), judging, progress)}
    if options.start is None:
        before = rows.pop("teacher")
        after = judged(_teacher_card(before.card, out / name, shoot, progress), judging, progress)
    else:
        before, after = _networks(config, options, shoot, (calibrating, judging), progress, out / name)
    rows |= {"before": before, "after": after}
    kept, why = verdict(before, after)
    if kept and "teacher" in rows and not verdict(rows["teacher"], after)[0]:
        why += f"; still worse than its teacher {teacher.name}: use that"
    evidence = {
        "kept": kept,
        "verdict": why,
        "takes": list(config.tables["shoot"].takes),
        "teacher": teacher.name,
        "agreed": shoot.agreed,
        "pictures": {
            "learn": len(shoot.others if options.start is None else shoot.learn),
            **{key: len(views) for key, views in judging.items()},
        },
        "scores": {key: row.scores for key, row in rows.items()},
    }
    (out / "evidence.json").write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
    if not kept:
        for left in (after.card, after.card.with_suffix(".onnx")):
            left.unlink(missing_ok=True)
        return {"verdict": f"not kept: {why}"}
    if options.start is None:
        shutil.copyfile(teacher.path, out / teacher.path.name)  # beside its card, as a model is added
    _write_evidence(after.card, rows, why)
    return {"verdict": f"kept: {why}", "card": str(after.card)}


def verdict(before: Candidate, after: Candidate) -> tuple[bool, str]:
    """Say whether a candidate is better on held-out frames and on the held-out view, and why or why not.

    Better: likelier labels (NLL lower), with no fewer joints near them and no larger median error beyond a little room.
    """
    reasons = []
    for name, words in _SETS.items():
        old, new = before.scores[name], after.scores[name]
        if not new["nll"] < old["nll"]:
            reasons.append(f"{words}: labels no likelier (NLL {old['nll']:.2f} -> {new['nll']:.2f})")
        if new["pck_02"] < old["pck_02"] - _ROOM:
            reasons.append(f"{words}: fewer joints right (PCK {old['pck_02']:.3f} -> {new['pck_02']:.3f})")
        if new["median_px"] > old["median_px"] * _FEW_PX:
            reasons.append(f"{words}: larger error (median {old['median_px']:.1f} -> {new['median_px']:.1f} px)")
    if reasons:
        return False, "no better on what it did not learn from. " + "; ".join(reasons)
    return True, "; ".join(
        f"{words}: NLL {before.scores[name]['nll']:.2f} -> {after.scores[name]['nll']:.2f}, median "
        f"{before.scores[name]['median_px']:.1f} -> {after.scores[name]['median_px']:.1f} px"
        for name, words in _SETS.items()
    )


def judged(card: Path, judging: dict[str, list[LabelledView]], progress: Progress) -> Candidate:
    """Measure a detector through the code of a solve on the sets that it did not learn from."""
    detector = _detector(card)
    scores = {}
    for name, views in judging.items():
        seen = progress.track(f"judging {name}", in_order(views), len(views))
        scores[name] = errors_on_views(detector, seen).scores(with_labels=True)
    return Candidate(card, scores)


def _networks(
    config: Config,
    options: argparse.Namespace,
    shoot: Shoot,
    sets: tuple[list[LabelledView], dict[str, list[LabelledView]]],
    progress: Progress,
    path: Path,
) -> tuple[Candidate, Candidate]:
    """Train the student; return it before and after, each with its noise measured on the same frames."""
    task = AdaptTask(config.tables, config.training.seed)
    task.use(shoot)
    model = task.model()
    load_weights(model, read_weights(options.start), str(options.start))
    calibrating, judging = sets
    first = judged(_network_card(model, task, path.with_name(f"{path.name}_start"), calibrating), judging, progress)
    run = path.with_name("run")
    facts = facts_of(config) | {"started_from": options.start.name}
    with progress.stage("learning", config.training.steps) as advance:
        task.on_batch = advance
        train(task, config.training, Options(run, False, options.minutes, facts, options.start), open_place("cpu"))
    load_weights(model, read_checkpoint(run / FILE).part("ema"), str(run))
    last = judged(_network_card(model, task, path, calibrating), judging, progress)
    for left in (first.card, first.card.with_suffix(".onnx")):
        left.unlink()
    return first, last


def _network_card(model: KeypointNetwork, task: AdaptTask, path: Path, calibrating: list[LabelledView]) -> Path:
    """Export a network with a card whose noise is measured on the calibrating frames."""
    outputs = {"keypoints": "keypoints", "covariance": "covariance", "scores": "scores"}
    shipped = Shipped(ShippedKeypoints(model.eval()), outputs, task.data.size, "regression")
    network, card = path.with_suffix(".onnx"), path.with_suffix(".toml")
    export(shipped, network)
    facts = CardFacts(
        name=path.name,
        licence="private: learned from footage of a shoot",
        provenance=f"our keypoint network, adapted to a shoot by training/adapt.py at commit {commit() or 'unknown'}",
        layout=task.data.layout,
        person_detector="blazepose_detector",
        noise=_UNKNOWN,
    )
    card.write_text(card_text(shipped, facts, network), encoding="utf-8")
    noise = _noise(card, calibrating)
    card.write_text(card_text(shipped, dataclasses.replace(facts, noise=noise), network), encoding="utf-8")
    return card


def _teacher_card(card: Path, path: Path, shoot: Shoot, progress: Progress) -> Path:
    """Write the teacher's card with the noise of the learning frames, labelled by other views; its network stays."""
    noise = _noise(card, list(progress.track("measuring", shoot.others, len(shoot.others))))
    tables = {f"noise.{joint}": noise_lines(each) for joint, each in noise.items()}
    provenance = f"noise measured on a shoot by training/adapt.py at commit {commit() or 'unknown'}"
    made = path.with_suffix(".toml")
    made.write_text(card_with_noise(card.read_text(encoding="utf-8"), path.name, provenance, tables), encoding="utf-8")
    return made


def _noise(card: Path, views: list[LabelledView]) -> dict[str, KeypointNoise]:
    detector, seen = _detector(card), list(in_order(views))
    errors = errors_on_views(detector, seen)
    streams = [view.picture.path for _, view in seen]
    return measured_noise(errors, detector.keypoint_card, streams, [view.picture.frame for _, view in seen])


def _write_evidence(card: Path, rows: dict[str, Candidate], why: str) -> None:
    """Add a table [accuracy] with every score to a card."""
    values = {
        f"{stage}_{name}_{key}": row.scores[name][key]
        for stage, row in rows.items()
        for name in _SETS
        for key in ("pck_02", "median_px", "nll", "ece", "coverage_50", "coverage_95")
    }
    lines = ["", "[accuracy]", f"measured = {toml_value(f'adapted to a shoot; labels: several views agreed. {why}')}"]
    lines += [f"{key} = {toml_value(value)}" for key, value in values.items() if math.isfinite(value)]
    text = card.read_text(encoding="utf-8")
    at = text.index("\n[noise")
    card.write_text(text[:at].rstrip() + "\n" + "\n".join(lines) + "\n" + text[at:], encoding="utf-8")


def _detector(card: Path) -> Detector:
    return load_detector(DetectionSettings(detector=str(card), provider="cpu", min_person_score=0.0, max_people=1))


def _card_file(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    return next(file for folder in model_folders() if (file := folder / f"{name}.toml").is_file())


def _config(options: argparse.Namespace) -> Config:
    config = read_config(options.config, TASKS)
    if (config.system, config.task) != ("detector", "adapt"):
        raise InputError(f"{options.config}: system and task must be 'detector' and 'adapt'")
    changed: dict[str, object] = {
        "takes": tuple(str(take) for take in options.takes),
        "work": str(options.out / "solves"),
    }
    changed |= {"teachers": tuple(options.teacher)} if options.teacher else {}
    changed |= {"held_out_view": options.held_out_view} if options.held_out_view else {}
    changed |= {"seconds": options.seconds} if options.seconds else {}
    shoot = dataclasses.replace(config.tables["shoot"], **changed)
    training = dataclasses.replace(config.training, steps=options.steps or config.training.steps)
    tables = {**config.tables, "shoot": shoot}
    if options.start is not None:
        theirs = read_facts(options.start)["config"]
        tables["network"] = NetworkSettings(**{key: tuple(value) for key, value in theirs["network"].items()})
        same = {"size": tuple(theirs["data"]["size"]), "layout": theirs["data"]["layout"]}
        tables["data"] = dataclasses.replace(config.tables["data"], **same)
    return dataclasses.replace(config, tables=tables, training=training)


def _say(line: dict[str, object] | dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adapt.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("takes", type=Path, nargs="+", metavar="TAKE.toml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--name", default="", help="of the card; the take's folder with _adapted if left out")
    parser.add_argument("--start", type=Path, metavar="F.safetensors", help="weights of our detector to train on")
    parser.add_argument("--teacher", action="append", metavar="CARD", help="detector in use; several must agree")
    parser.add_argument("--held-out-view", default="", metavar="NAME", help="the last one if left out")
    parser.add_argument("--seconds", type=float, default=0.0, help="of each take; 0 = all")
    parser.add_argument("--steps", type=int, default=0, help="of the training; 0 = as in the config")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, metavar="N", help="end the training within this time"
    )
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="CONFIG.toml")
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar", help="how progress is shown")
    parser.add_argument("--listen", action="store_true", help="stop on the line `cancel` or the end of standard input")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return parser


if __name__ == "__main__":
    sys.exit(main())

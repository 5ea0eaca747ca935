"""Measure models: ``python training/evaluate.py COMMAND …``.

    held-out RUN CARD.toml                        a network on held-out samples, as its card says it
    take CARD.toml TAKE.toml SOLUTION.npz         2D keypoints against a solution that another detector led to
    pictures CARD.toml ROOT --layout coco         2D keypoints against the labels of a data set (coco, mpii)
    boxes CARD.toml --video F.mp4 | --coco ROOT   a person detector against BlazePose's masks or boxes made by hand
    solved SOLUTION.npz REFERENCE.npz             bone spread, and how far two solutions of a take are apart
    poses F.npz --protocol h36m [--compat MODE]   estimated poses in a table beside published figures

``--keep`` of ``take``, ``pictures`` and ``boxes`` writes the figures into the card.
Exit codes: 0 done, 2 the input is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose files would stand for packages of the same name

from inference.config import DetectionSettings  # noqa: E402  the checkout is on the path only now
from inference.errors import InputError, SolveError  # noqa: E402
from inference.files.solution import read_solution  # noqa: E402
from inference.perception.card import BOX_KINDS, find_card  # noqa: E402
from inference.perception.detector import Detector  # noqa: E402
from inference.perception.session import Session  # noqa: E402
from training.evaluation import (  # noqa: E402
    apart_mm,
    bone_spread_mm,
    judged_on_views,
    protocol_scores,
    read_poses,
    table,
)
from training.loaders.coco import read_coco  # noqa: E402
from training.loaders.labelled import LabelledPicture  # noqa: E402
from training.loaders.mpii import read_mpii  # noqa: E402
from training.loaders.solved_take import read_solved_take  # noqa: E402

# Figures of a judgement that a card keeps:
_IN_CARD = ("pck_02", "median_px", "coverage", "pictures", "recall", "overlap", "false_per_picture", "people")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    commands = {"held-out": _held_out, "take": _take, "pictures": _pictures, "boxes": _boxes}
    commands |= {"solved": _solved, "poses": _poses}
    try:
        sys.stdout.write(commands[options.command](options) + "\n")
        return 0
    except SolveError as error:
        sys.stderr.write(f"evaluate.py: {error}\n")
        return error.exit_code


def _held_out(options: argparse.Namespace) -> str:
    from training.shipping import judged, open_run  # here: the other commands need no PyTorch

    card = find_card(str(options.card))
    return json.dumps(judged(open_run(options.run, options.views), card.path, None).scores, indent=1)


def _take(options: argparse.Namespace) -> str:
    views = read_solved_take(options.take, options.solution, options.most_sigma, options.every)
    chosen = [view for view in views if not options.views or view.camera.name in options.views]
    return _judged(
        options,
        chosen,
        f"every {options.every}th frame of {options.take.stem}, against what {options.reference} led to in 3D",
    )


def _pictures(options: argparse.Namespace) -> str:
    people = {"coco": read_coco, "mpii": read_mpii}[options.layout](options.root, options.split)
    return _judged(options, people, f"people of {options.layout} {options.split}, against labels made by hand")


def _boxes(options: argparse.Namespace) -> str:
    # Here: the other commands need no LiteRT.
    from training.box_evaluation import judged_boxes, labelled_pictures, pictures_of_videos

    card = find_card(options.card)
    if card.kind not in BOX_KINDS:
        raise InputError(f"model card {card.name!r} finds no boxes (kind {card.kind!r}): name a card of people's boxes")
    session = Session(card.path, options.provider)
    settings = DetectionSettings()
    detector = Detector(card, card, session, session, settings.min_person_score, settings.max_people)
    if options.coco:
        pictures = labelled_pictures(read_coco(options.coco, options.split, least_keypoints=0))
        what = f"people of coco {options.split}, against boxes made by hand"
    else:
        pictures = pictures_of_videos(options.video, options.every)
        which = options.what or ", ".join(path.stem for path in options.video)
        what = f"every {options.every}th frame of {which}, against boxes around BlazePose's masks"
    scores = judged_boxes(detector, pictures)
    if options.keep:
        _keep(Path(options.card), scores, options.keep, what)
    return json.dumps(scores, indent=1)


def _judged(options: argparse.Namespace, views: Sequence[LabelledPicture], what: str) -> str:
    """Judge a detector, and the one to stand beside it; write the figures into the card if that is asked for."""
    scores = judged_on_views(_detector(options.card, options.provider), views)
    if options.beside:
        other = judged_on_views(_detector(options.beside, options.provider), views)
        name = Path(options.beside).stem
        scores |= {f"{key}_of_{name}": other[key] for key in ("pck_02", "median_px")}
        better = "better" if scores["pck_02"] > other["pck_02"] else "worse"
        what += (
            f": {better} than {name}, {scores['pck_02']:.2f} against {other['pck_02']:.2f} (PCK at 0.2 of the torso)"
        )
    if options.keep:
        _keep(Path(str(options.card)), scores, options.keep, what)
    return json.dumps(scores, indent=1)


def _detector(name: str, provider: str) -> Detector:
    card = find_card(name)
    session = Session(card.path, provider)
    return Detector(card, card, session, session, min_person_score=0.0, max_people=1)


def _keep(path: Path, scores: Mapping[str, float], prefix: str, what: str) -> None:
    """Write scores into the table [accuracy] of a card, in place of those of that prefix that were there."""
    if path.suffix != ".toml" or "[accuracy]" not in path.read_text(encoding="utf-8"):
        raise InputError(f"{path}: --keep needs the file of a card with a table [accuracy]")
    before = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in before if not line.startswith(f"{prefix}_")]
    where = kept.index("[accuracy]") + 1
    lines = [f"{prefix}_measured = {json.dumps(what)}"]
    short = {key: value for key, value in scores.items() if key.startswith(_IN_CARD)}
    lines += [f"{prefix}_{key} = {float(f'{value:.4g}')!r}" for key, value in short.items()]
    path.write_text("\n".join([*kept[:where], *lines, *kept[where:]]) + "\n", encoding="utf-8")


def _solved(options: argparse.Namespace) -> str:
    ours, reference = read_solution(options.solution), read_solution(options.reference)
    return json.dumps(
        {
            "bone_spread_mm": bone_spread_mm(ours.raw),
            "bone_spread_mm_of_reference": bone_spread_mm(reference.raw),
            "apart_mm": apart_mm(ours.solved, reference.solved),
        },
        indent=1,
    )


def _poses(options: argparse.Namespace) -> str:
    scores = protocol_scores(read_poses(options.poses), options.protocol, options.compat)
    name = options.poses.stem + (f" ({options.compat})" if options.compat else "")
    return table(options.protocol, {name: scores})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    held_out = commands.add_parser("held-out", help="a network on held-out samples")
    held_out.add_argument("run", type=Path)
    held_out.add_argument("card", type=Path)
    held_out.add_argument("--views", type=int, default=0, help="how many; 0 = as in the config")
    take = commands.add_parser("take", help="2D keypoints against a solution that another detector led to")
    take.add_argument("card", help="a card's file or name")
    take.add_argument("take", type=Path)
    take.add_argument("solution", type=Path)
    take.add_argument("--reference", default="another detector", help="in words, what the solution was made from")
    take.add_argument("--every", type=int, default=5, help="take each n-th frame")
    take.add_argument(
        "--most-sigma", type=float, default=30.0, help="px; joints less sure in the picture are no labels"
    )
    take.add_argument("--views", type=lambda text: text.split(","), default=[], help="names of views; default: all")
    pictures = commands.add_parser("pictures", help="2D keypoints against the labels of a data set")
    pictures.add_argument("card", help="a card's file or name")
    pictures.add_argument("root", type=Path, help="of the data set, in its own layout")
    pictures.add_argument("--layout", choices=("coco", "mpii"), required=True)
    pictures.add_argument("--split", default="val", help="coco: train, val; mpii: train, valid, trainval")
    boxes = commands.add_parser("boxes", help="a person detector against boxes that others gave")
    boxes.add_argument("card", help="a card's file or name")
    where = boxes.add_mutually_exclusive_group(required=True)
    where.add_argument("--video", type=Path, action="append", help="boxes around BlazePose's masks; may be repeated")
    where.add_argument("--coco", type=Path, metavar="ROOT", help="boxes of COCO's own")
    boxes.add_argument("--split", default="val", help="of COCO: train, val")
    boxes.add_argument("--what", default="", help="in words, what the videos show, for the card")
    boxes.add_argument("--every", type=int, default=10, help="take each n-th frame")
    for judging in (take, pictures):
        judging.add_argument("--beside", default="", metavar="CARD", help="another detector, on the same pictures")
    for judging in (take, pictures, boxes):
        judging.add_argument("--provider", default="auto", help="execution provider of ONNX Runtime")
        judging.add_argument(
            "--keep",
            nargs="?",
            const="real",
            default="",
            metavar="PREFIX",
            help="write the figures into the card, under names that begin so; default: real",
        )
    solved = commands.add_parser("solved", help="compare two solutions of a take")
    solved.add_argument("solution", type=Path)
    solved.add_argument("reference", type=Path)
    poses = commands.add_parser("poses", help="a table beside published figures")
    poses.add_argument("poses", type=Path, metavar="F.npz", help="predicted, truth (N, J, 3) m, joint_names, actions")
    poses.add_argument("--protocol", required=True, choices=("h36m", "mpi_inf_3dhp"))
    poses.add_argument("--compat", default="", help="epipolarpose_compat or margipose_compat")
    return parser


if __name__ == "__main__":
    sys.exit(main())

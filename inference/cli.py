"""The command line ``python -m inference``: solve, calibrate, cameras, detect, models.

Exit codes: 0 done; 2 the input is wrong (one line on stderr); 3 the solve failed; 130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .calibrate import calibrate
from .config import settings_from
from .convert_cameras import FORMATS, convert_cameras
from .errors import Cancelled, InputError, SolveError
from .files.camera_table import Distance
from .perception.detector import load_detector
from .perception.images import detect_images
from .perception.manage import add_model, list_models
from .perception.packs import fetch_pack
from .pipeline import solve, solve_again
from .progress import BarProgress, JsonProgress, Progress
from .report.written import read_warnings
from .take import UNITS, parse_overrides, read_take, split_overrides


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the command in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="python -m inference", description="Sightline without Blender.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show the trace of an error, and the log")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("solve", "from a take to skeleton motion with covariance"),
        ("calibrate", "the cameras of a take alone, as files of our own"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("take", type=Path, metavar="TAKE.toml")
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
        _add_common(command)
        if name == "calibrate":
            command.add_argument("--check", action="store_true", help="check given cameras by the people in the videos")
        if name == "solve":
            command.add_argument(
                "--so-far", action="store_true", help="only the frames that a cancelled solve has looked at"
            )
            command.add_argument(
                "--again",
                action="store_true",
                help="from the keypoints and cameras of the last solve in DIR, with the corrections of the take",
            )
    _add_cameras(commands.add_parser("cameras", help="a calibration of one tool as that of another"))
    detect = commands.add_parser("detect", help="2D keypoints of pictures")
    detect.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    detect.add_argument("--json", action="store_true", help="every keypoint as JSON on stdout")
    _add_common(detect)
    models = commands.add_parser("models", help="list, add or fetch detectors")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the models that can be used, with licence and hash")
    add = actions.add_parser("add", help="add a model of your own by its card")
    add.add_argument("card", type=Path, metavar="CARD.toml")
    fetch = actions.add_parser("fetch", help="download a pack (the only command that goes online)")
    fetch.add_argument("pack", nargs="?", default="blazepose", metavar="PACK")
    fetch.add_argument("--progress", choices=("bar", "json"), default="bar", help="how progress is shown")
    return parser


def _add_cameras(command: argparse.ArgumentParser) -> None:
    command.description = "Reads a calibration of any known tool, tells the camera spacing, and writes it for another."
    command.add_argument("source", type=Path, metavar="CALIBRATION", help="file, or folder")
    command.add_argument("--out", type=Path, required=True, metavar="PATH", help="file (toml), or folder")
    command.add_argument("--format", choices=FORMATS, default="toml")
    command.add_argument("--units", choices=UNITS, help="of the source, where it does not say or is wrong")
    command.add_argument(
        "--distance", nargs=3, metavar=("CAMERA", "CAMERA", "METRES"), help="gives a source without scale its scale"
    )
    command.add_argument("--intrinsics", type=Path, metavar="PATH", help="a second source, for the lenses")
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="a setting of [solve]"
    )
    command.add_argument("--progress", choices=("bar", "json", "none"), default="bar", help="how progress is shown")
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = build_parser().parse_args(arguments)
    level = logging.WARNING if options.command == "models" else logging.ERROR  # a fetch says that it goes online
    logging.basicConfig(level=logging.INFO if options.debug else level, format="%(message)s")
    try:
        _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return _failed("cancelled", Cancelled.exit_code, options.debug)
    except SolveError as problem:
        return _failed(str(problem), problem.exit_code, options.debug)
    except Exception as problem:  # noqa: BLE001 - the outermost frame of the command
        text = f"unexpected {type(problem).__name__}: {problem}; run again with --debug and report what it shows"
        return _failed(text, SolveError.exit_code, options.debug)
    return 0


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(" ".join(message.split()) + "\n")
    return code


def _progress(kind: str, results_on_stdout: bool = False) -> Progress:
    """Choose how progress is shown; where the results go to stdout it stays out of them."""
    if kind == "json":
        return JsonProgress(sys.stderr if results_on_stdout else sys.stdout)
    if kind == "none" or (results_on_stdout and not sys.stderr.isatty()):
        return Progress()
    return BarProgress()


def _solve(options: argparse.Namespace) -> None:
    take = read_take(options.take, split_overrides(options.settings))
    progress = _progress(options.progress)
    if options.again:
        solution = solve_again(take, options.out, progress)
    else:
        solution = solve(take, options.out, progress, options.so_far)
    frames, persons = solution.solved.xyz.shape[:2]
    share = solution.solved.observed.mean()
    for warning in read_warnings(options.out):
        sys.stderr.write(f"warning: {warning}\n")
    sys.stderr.write(
        f"{take.name}: {frames} frames, {persons} person(s), {share:.1%} of joints observed; "
        f"see {options.out / 'report.html'}\n"
    )


def _calibrate(options: argparse.Namespace) -> None:
    take = read_take(options.take, split_overrides(options.settings))
    calibrate(take, options.out, _progress(options.progress), options.check)
    for warning in read_warnings(options.out):
        sys.stderr.write(f"warning: {warning}\n")
    sys.stderr.write(f"cameras written to {options.out / 'cameras.toml'}; see {options.out / 'report.html'}\n")


def _cameras(options: argparse.Namespace) -> None:
    distance = None
    if options.distance is not None:
        first, second, metres = options.distance
        try:
            distance = Distance(first, second, float(metres))
        except ValueError:
            distance = None
        if distance is None or not 0.01 <= distance.metres <= 1000:
            raise InputError(f"--distance {first} {second} {metres}: the last must be metres, 0.01 to 1000")
    done = convert_cameras(options.source, options.out, options.format, options.units, distance, options.intrinsics)
    for warning in done.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for line in done.lines:
        sys.stderr.write(f"{line}\n")
    sys.stderr.write(f"cameras written to {options.out}\n")


def _detect(options: argparse.Namespace) -> None:
    detector = load_detector(settings_from(parse_overrides(split_overrides(options.settings)), where="--set").detection)
    pictures = _progress(options.progress, results_on_stdout=True).track("detect", options.images, len(options.images))
    found = [picture for path in pictures for picture in detect_images([path], detector)]
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1, allow_nan=False) + "\n")
        return
    for picture in found:
        sys.stdout.write(f"{picture['image']}: {len(picture['people'])} people\n")


def _models(options: argparse.Namespace) -> None:
    if options.action == "fetch":
        progress = JsonProgress(sys.stdout) if options.progress == "json" else BarProgress(sys.stderr)
        for path in fetch_pack(options.pack, progress):
            sys.stdout.write(f"{path}\n")
    elif options.action == "add":
        sys.stdout.write(f"added {add_model(options.card).name}\n")
    else:
        for model in list_models():
            sys.stdout.write(f"{model.line}\n")


_COMMANDS = {"solve": _solve, "calibrate": _calibrate, "cameras": _cameras, "detect": _detect, "models": _models}

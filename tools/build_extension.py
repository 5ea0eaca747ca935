"""Builds the extension: one installable zip for each platform, with all wheels and the default detector inside.

    python tools/build_extension.py [--platform all|linux-x64|…] [--python 3.14] [--no-wheels] --out DIR

Needs the environment of `python tools/dev.py env` (for Blender's own build command and the detector pack), and the
package index that pip is set up with. The zip is made and validated by `blender_ext.py` of the bpy module.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this folder stands first on the path and the project does not

from tools.dev import CONSTRAINTS, DevError, read_constraints, venv_python  # noqa: E402

SHIPPED = ("__init__.py", "LICENSE", "NOTICE", "addon", "inference", "training")  # the last for Adapt to This Shoot
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "ruff.toml", "*.blend1", "weights")  # of unfinished networks
DETECTOR = "blazepose"
PYTHONS = ("3.11", "3.13")  # of Blender 4.2 to 5.0, and of 5.1 and later

# Blender's platform -> the tags of wheels that run on it, the newest first.
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_14_0_arm64",),
    "macos-x64": ("macosx_14_0_x86_64",),
}

# What the add-on's worker imports, with everything that these need; numpy is Blender's own.
PACKAGES = (
    "onnxruntime",
    "flatbuffers",
    "protobuf",
    "packaging",
    "scipy",
    "opencv-python-headless",
    "av",
    "threadpoolctl",
    "tqdm",
)
# Blender 4.2 carries numpy 1.24; this is the last scipy that accepts it (and it accepts numpy 2 as well).
OLD_NUMPY = {"scipy": "1.15.3"}


def this_platform() -> str:
    """Return Blender's name of the platform this runs on."""
    system = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}.get(platform.system(), platform.system())
    machine = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{system}-{machine}"


def blender_command() -> Path:
    """Return `blender_ext.py`, Blender's command line for extensions, from the bpy module."""
    folders = [Path(sysconfig.get_paths()["purelib"]), *(ROOT / ".venv").glob("lib/python*/site-packages")]
    folders.append(ROOT / ".venv" / "Lib" / "site-packages")
    for folder in folders:
        for found in sorted(folder.glob("bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")):
            return found
    raise DevError("the bpy module is not installed: run `python tools/dev.py env` first")


def candidates(package: str, pins: dict[str, str]) -> list[str]:
    """Return the requirements to try in order: the version for old numpy, the pinned one, an older one."""
    pinned = pins[package]
    return [f"{package}=={version}" for version in (OLD_NUMPY.get(package), pinned) if version] + [
        f"{package}<{pinned}"
    ]


def download(requirement: str, name: str, python: str, folder: Path) -> bool:
    """Download one wheel for a platform and a Python; tell whether there is one."""
    tags = [option for tag in PLATFORMS[name] for option in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    options = ["--only-binary=:all:", "--python-version", python, *tags, "--dest", str(folder)]
    done = subprocess.run([*command, *options, requirement], capture_output=True, text=True)
    if done.returncode and "No matching distribution" not in done.stderr:
        raise DevError(f"pip could not download {requirement}: {done.stderr.strip().splitlines()[-1:]}")
    return done.returncode == 0


def collect_wheels(name: str, pythons: Sequence[str], folder: Path) -> list[str]:
    """Download all wheels of one platform.

    Returns:
        What is not there in the wished version, one line each.

    Raises:
        DevError: a package has no wheel at all for this platform.
    """
    pins = read_constraints(CONSTRAINTS.read_text(encoding="utf-8"), CONSTRAINTS.name)
    folder.mkdir(parents=True)
    notes = []
    for python in pythons:
        for package in PACKAGES:
            wanted = candidates(package, pins)
            for requirement in wanted:
                if download(requirement, name, python, folder):
                    break
            else:
                raise DevError(f"{name}: {package} has no wheel for Python {python}: no zip for this platform")
            if requirement != wanted[0]:
                notes.append(f"{name}, Python {python}: no wheel of {wanted[0]}, took {requirement}")
    return notes


def stage(folder: Path) -> None:
    """Copy what the extension consists of, and the detector that it carries."""
    folder.mkdir(parents=True)
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(source, folder / name)
    copy_detector(folder / "inference" / "models")


def copy_detector(models: Path) -> None:
    """Copy the networks of the default detector and the licence that they are under; their cards are in the source."""
    from inference.errors import ModelError  # here: the environment is made by dev.py, which knows no numpy
    from inference.perception.card import find_card

    models.mkdir(exist_ok=True)
    try:
        card = find_card(DETECTOR)
        networks = [card.path, find_card(card.person_detector).path]
    except ModelError as error:
        raise DevError(str(error)) from error
    licence = card.path.with_name(f"{DETECTOR}.LICENSE.txt")
    if not licence.is_file():
        raise DevError(f"{licence} is missing: fetch the pack again (python -m inference models fetch {DETECTOR})")
    for path in (*networks, licence):
        shutil.copy2(path, models / path.name)


def write_manifest(folder: Path, source: Path, name: str) -> None:
    """Copy the manifest with the platform and the list of the wheels that lie in the staged folder."""
    wheels = sorted(f"./wheels/{path.name}" for path in (folder / "wheels").glob("*.whl"))
    lines = [f'platforms = ["{name}"]', "wheels = [", *(f'    "{wheel}",' for wheel in wheels), "]", ""]
    text = source.read_text(encoding="utf-8")
    head, bracket, tables = text.partition("\n[")  # keys of the top level stand before the first table
    (folder / "blender_manifest.toml").write_text(head + "\n" + "\n".join(lines) + bracket + tables, encoding="utf-8")


def blender_build(folder: Path, out: Path, name: str) -> Path:
    """Make the zip of a staged folder and validate it, both with Blender's own command."""
    manifest = tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))
    target = out / f"{manifest['id']}-{manifest['version']}-{name}.zip"
    command = [sys.executable, blender_command()]
    for arguments in (
        ["validate", folder],
        ["build", "--source-dir", folder, "--output-filepath", target],
        ["validate", target],
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        if done.returncode:
            target.unlink(missing_ok=True)
            said = " ".join(f"{done.stdout} {done.stderr}".split())
            raise DevError(f"Blender refuses the extension ({arguments[0]}): {said}")
    return target


def build(name: str, pythons: Sequence[str], out: Path, with_wheels: bool) -> Path:
    """Build the zip of one platform; return its path."""
    work = ROOT / "build" / "extension" / name
    shutil.rmtree(work, ignore_errors=True)
    stage(work)
    for note in collect_wheels(name, pythons, work / "wheels") if with_wheels else []:
        print(note, flush=True)
    write_manifest(work, ROOT / "blender_manifest.toml", name)
    target = blender_build(work, out, name)
    print(f"{target}: {target.stat().st_size / 1e6:.0f} MB", flush=True)
    return target


def main(arguments: Sequence[str]) -> int:
    """Build the zips that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="build_extension.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--platform", choices=["all", *PLATFORMS], help="default: the platform this runs on")
    parser.add_argument(
        "--python", action="append", default=[], metavar="X.Y", help="one more Python to carry wheels for"
    )
    parser.add_argument(
        "--no-wheels", action="store_true", help="leave the wheels out: for a quick look at the zip alone"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    names = list(PLATFORMS) if options.platform == "all" else [options.platform or this_platform()]
    failed = 0
    for name in names:
        try:
            build(name, [*PYTHONS, *options.python], out, not options.no_wheels)
        except DevError as error:
            print(f"build_extension.py: {error}", file=sys.stderr, flush=True)
            failed += 1
    return 1 if failed else 0


def in_environment() -> bool:
    """Tell whether this runs in an environment that has what the tool needs."""
    return Path(sys.prefix).resolve() == (ROOT / ".venv").resolve() or not venv_python(ROOT / ".venv").exists()


if __name__ == "__main__":
    if not in_environment():
        sys.exit(subprocess.run([venv_python(ROOT / ".venv"), __file__, *sys.argv[1:]]).returncode)
    sys.exit(main(sys.argv[1:]))

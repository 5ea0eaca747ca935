"""What the user chose once for all files: another Python, and whether we may go online; the command that makes one."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import os
import shlex
import sys
from pathlib import Path

import bpy

from ..inference.errors import InputError

PACKAGE = __package__.rpartition(".")[0]  # the extension, as Blender knows it
# What the worker imports, as in pyproject.toml, and what fetching converts with; the GPU runtime is added.
NEEDED = ("numpy<3", "scipy", "opencv-python-headless", "av", "threadpoolctl", "tqdm", "onnx<1.20", "tflite")


def hint(macos: bool = sys.platform == "darwin") -> str:
    """Say what another Python is good for on this system."""
    if macos:
        return "There is no faster runtime for macOS; this makes a Python of your own:"
    return f"With an NVIDIA GPU this in a terminal makes {environment_python()}, to be chosen here:"


def preferences() -> bpy.types.AddonPreferences | None:
    """Return the preferences; None where the extension is not enabled in Blender, but only imported."""
    entry = bpy.context.preferences.addons.get(PACKAGE)
    return None if entry is None else entry.preferences


def chosen_python() -> str:
    """Return the Python that the user chose, "" for Blender's own.

    Raises:
        InputError: it is not there.
    """
    chosen = preferences()
    path = "" if chosen is None else chosen.python.strip()
    if not path:
        return ""
    found = Path(bpy.path.abspath(path)).expanduser()
    if not found.is_file():
        raise InputError(f"the Python of the preferences, {found}, is not there; choose another, or none")
    return str(found)


def environment_command(windows: bool = os.name == "nt", macos: bool = sys.platform == "darwin") -> str:
    """Return the command that makes a Python with a GPU runtime, for the terminal of this system."""
    runtime = "onnxruntime" if macos else "onnxruntime-gpu[cuda,cudnn]"
    packages = (*NEEDED, runtime)
    if windows:
        folder = r"%USERPROFILE%\sightline-gpu"
        wanted = " ".join(f'"{name}"' for name in packages)
        return f'py -3.11 -m venv "{folder}" && "{folder}\\Scripts\\python.exe" -m pip install {wanted}'
    wanted = " ".join(shlex.quote(name) for name in packages)
    return f"python3.11 -m venv ~/sightline-gpu && ~/sightline-gpu/bin/python -m pip install {wanted}"


def environment_python(windows: bool = os.name == "nt") -> str:
    """Return the Python that `environment_command` makes: what to choose above."""
    return r"%USERPROFILE%\sightline-gpu\Scripts\python.exe" if windows else "~/sightline-gpu/bin/python"

"""Installs the built extension in a real Blender, and solves the example take with and without its window.

    sudo python tools/run_blender_tests.py [--chroot DIR] [--out DIR] [--only PART]

Linux, root, and mmdebstrap. Blender comes from Debian sid into a chroot of its own (1.3 GB, a minute or two), with Xvfb
for the window. The mirror is the one of this machine's own apt sources, or DEBIAN_MIRROR. Leaves pictures of the
window in --out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this folder stands first on the path and the project does not

from tests.keypoint_take import write_take  # noqa: E402
from tools.build_extension import this_platform  # noqa: E402
from tools.dev import DevError, run_bounded, say  # noqa: E402

PYTHON = "3.14"  # of Debian sid
PACKAGES = (
    "ca-certificates,python3-numpy,python3-cattr,python3-requests,python3-zstandard,"
    "blender,xvfb,xauth,xdotool,imagemagick,libgl1-mesa-dri"
)
EXTENSION = "bl_ext.user_default.sightline"

# Mounts of a command in the chroot live in a namespace of their own and end with it: nothing outside trips over them.
ENTER = """
set -eu
for name in proc sys dev; do mount --rbind "/$name" "$1/$name"; done
mkdir -p "$1/src" "$1/out"
mount --bind "$2" "$1/src"
mount --bind "$3" "$1/out"
root="$1"
shift 3
exec chroot "$root" "$@"
"""
# A screen of 1600x900 in software; the script in the window takes the pictures and ends Blender.
WINDOW = """
export DISPLAY=:77 LIBGL_ALWAYS_SOFTWARE=1 XDG_RUNTIME_DIR=/run/window
mkdir -p -m 700 /run/window
Xvfb :77 -screen 0 1600x900x24 >/out/xvfb.log 2>&1 &
server=$!
while ! [ -S /tmp/.X11-unix/X77 ]; do kill -0 $server; sleep 0.1; done
code=0
blender --offline-mode --window-geometry 0 0 1600 900 \
    --python-exit-code 3 --python /src/tests/window/press_solve.py -- /out/window/take/take.toml /out/window || code=$?
kill $server
exit $code
"""


def debian_mirror() -> str:
    """Return where this machine gets its Debian packages from."""
    if named := os.environ.get("DEBIAN_MIRROR"):
        return named
    listing = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        origin, component, uri = (*line.split(), "", "", "")[:3]
        if origin == "Debian" and component == "main" and "security" not in uri:
            return uri
    raise DevError("no Debian mirror among the sources of apt: name one with DEBIAN_MIRROR")


def make_chroot(chroot: Path) -> None:
    """Install Debian sid with Blender into a folder, unless it is there."""
    if (chroot / "usr/bin/blender").exists():
        return
    if shutil.which("mmdebstrap") is None:
        raise DevError("mmdebstrap is missing: apt-get install mmdebstrap")
    say(f"making {chroot} (a minute or two)")
    options = ['--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=APT::Install-Recommends "false"']
    source = f"deb {debian_mirror()} sid main"
    unfinished = chroot.with_name(chroot.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    chroot.parent.mkdir(parents=True, exist_ok=True)
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        *options,
        f"--include={PACKAGES}",
        "sid",
        unfinished,
        source,
    ]
    if run_bounded(command, 1200):
        raise DevError(f"the chroot {chroot} could not be made: see the lines above")
    (unfinished / "etc/mtab").unlink(missing_ok=True)
    (unfinished / "etc/mtab").symlink_to("/proc/mounts")  # Blender warns without it
    unfinished.rename(chroot)


def run_inside(chroot: Path, out: Path, words: Sequence[str], timeout_s: float, log: Path) -> str:
    """Run a command in the chroot, with the project at /src and the results at /out; return what it said."""
    enter = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        ENTER,
        "sh",
        str(chroot),
        str(ROOT),
        str(out),
    ]
    clean: Mapping[str, str] = {
        "HOME": "/root",
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    inside = ["env", "-i", *(f"{key}={value}" for key, value in clean.items()), *words]
    redirect = ["sh", "-c", 'log="$1"; shift; exec "$@" >"$log" 2>&1', "sh", str(log)]
    code = run_bounded([*redirect, *enter, *inside], timeout_s)
    said = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise DevError(f"{' '.join(words[:4])}… ended with exit code {code}:\n{said[-3000:]}")
    return said


def install(chroot: Path, out: Path) -> None:
    """Build the extension for this Blender's Python, install and enable it, and see that it and its wheels import."""
    build = [sys.executable, ROOT / "tools/build_extension.py", "--python", PYTHON, "--out", out / "dist"]
    if run_bounded(build, 900):
        raise DevError("the extension could not be built: see the lines above")
    (package,) = (out / "dist").glob("*.zip")
    shutil.rmtree(chroot / "root/.config/blender", ignore_errors=True)  # a Blender that never saw us
    command = ["blender", "--command", "extension", "install-file", "-r", "user_default", "--enable"]
    said = run_inside(chroot, out, [*command, f"/out/dist/{package.name}"], 300, out / "install.log")
    if "Error" in said:
        raise DevError(f"Blender did not install the extension:\n{said[-3000:]}")
    look = (
        f"import json, sys, bpy, onnxruntime, cv2, av, scipy; import {EXTENSION}.inference as ours; assert "
        f"{EXTENSION!r} in bpy.context.preferences.addons; "
        f"assert hasattr(bpy.types, 'SIGHTLINE_OT_solve_take'); json.dump([bpy.app.version_string, sys.version, "
        f"onnxruntime.__version__, ours.__version__], open('/out/installed.json', 'w'))"
    )
    command = ["blender", "--background", "--offline-mode", "--python-exit-code", "3", "--python-expr", look]
    run_inside(chroot, out, command, 120, out / "import.log")
    say(f"installed: {', '.join(json.loads((out / 'installed.json').read_text()))}")


def _solve(chroot: Path, out: Path, words: Sequence[str]) -> None:
    """Run `tools/batch_solve.py` in a Blender without a window."""
    # The checkout carries no networks: those that were staged for the zip are the same.
    models = f"SIGHTLINE_MODELS=/src/build/extension/{this_platform()}/inference/models"
    command = ["env", models, "blender", "--background", "--offline-mode", "--python-exit-code", "3"]
    run_inside(chroot, out, [*command, "--python", "/src/tools/batch_solve.py", "--", *words], 900, out / "solve.log")


def headless(chroot: Path, out: Path) -> None:
    """Solve the example take without a window."""
    shutil.rmtree(out / "headless", ignore_errors=True)
    _solve(chroot, out, ["/src/addon/example_take/take.toml", "--out", "/out/headless", "--export", "fbx"])
    for kind in ("*.blend", "*.fbx", "report.html", "solution.npz"):
        if len(list((out / "headless").glob(kind))) != 1:
            raise DevError(f"the solve without a window did not leave exactly one {kind} in {out / 'headless'}")
    say("headless: solved, one .blend, one .fbx")


def window(chroot: Path, out: Path) -> None:
    """Open the window, press the button, wait for the armature; the pictures must show something."""
    shutil.rmtree(out / "window", ignore_errors=True)
    shutil.copytree(ROOT / "addon" / "example_take", out / "window" / "take")
    run_inside(chroot, out, ["sh", "-eu", "-c", WINDOW], 900, out / "window.log")
    result = json.loads((out / "window" / "result.json").read_text(encoding="utf-8"))
    if result.get("error"):
        raise DevError(f"pressing the button: {result['error']} (see {out / 'window.log'})")
    for picture in ("before.png", "during.png", "after.png"):
        words = ["convert", f"/out/window/{picture}", "-colorspace", "Gray", "-format", "%[fx:mean]", "info:"]
        mean = float(run_inside(chroot, out, words, 60, out / "mean.log"))
        if mean <= 0:
            raise DevError(f"{out / 'window' / picture} is black")
    say(f"window: {result}")


def see(chroot: Path, out: Path) -> None:
    """Solve the example take from two of its views, draw its uncertainty in the window, leave the guide's pictures."""
    folder = out / "see"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "addon" / "example_take", folder)
    take = (folder / "take.toml").read_text(encoding="utf-8")
    (folder / "take.toml").write_text("[[view]]".join(take.split("[[view]]")[:3]), encoding="utf-8")
    _solve(chroot, out, ["/out/see/take.toml", "--out", "/out/see/results"])
    words = "show_uncertainty.py -- /out/see/take.toml /out/see/pictures"
    script = WINDOW.replace("press_solve.py -- /out/window/take/take.toml /out/window", words)
    run_inside(chroot, out, ["sh", "-eu", "-c", script], 600, out / "see.log")
    result = json.loads((folder / "pictures" / "result.json").read_text(encoding="utf-8"))
    if result.get("error"):
        raise DevError(f"seeing: {result['error']} (see {out / 'see.log'})")
    say(f"see: {result}")


def fix(chroot: Path, out: Path) -> None:
    """Drag a keypoint in the window, let go, undo, redo and solve again, on a take of keypoints alone."""
    shutil.rmtree(out / "fix", ignore_errors=True)
    (out / "fix" / "take").mkdir(parents=True)
    write_take(out / "fix" / "take")
    script = WINDOW.replace("press_solve.py", "drag_keypoint.py").replace("/out/window", "/out/fix")
    run_inside(chroot, out, ["sh", "-eu", "-c", script], 600, out / "fix.log")
    result = json.loads((out / "fix" / "result.json").read_text(encoding="utf-8"))
    if result.get("error"):
        raise DevError(f"fixing: {result['error']} (see {out / 'fix.log'})")
    if result["error_px"] > 1:
        raise DevError(f"a keypoint that was dragged stands {result['error_px']} px beside the mouse")
    say(f"fix: {result}")


def walk(chroot: Path, out: Path) -> None:
    """Go through the whole panel, from an empty scene to an exported FBX; the pictures are those of the guide."""
    shutil.rmtree(out / "walk", ignore_errors=True)
    shutil.copytree(ROOT / "addon" / "example_take", out / "walk" / "take")
    script = WINDOW.replace("press_solve.py", "walk.py").replace("/out/window", "/out/walk")
    run_inside(chroot, out, ["sh", "-eu", "-c", script], 900, out / "walk.log")
    result = json.loads((out / "walk" / "result.json").read_text(encoding="utf-8"))
    if result.get("error"):
        raise DevError(f"walking through the panel: {result['error']} (see {out / 'walk.log'})")
    if result["keys"] < 5 * result["keys_cleaned"]:
        raise DevError(f"the cleaned layer has too many keys: {result}")
    say(f"walk: {result}")


def main(arguments: Sequence[str]) -> int:
    """Run the parts that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="run_blender_tests.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chroot", type=Path, default=ROOT / "build" / "blender-sid")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "blender-tests")
    parts = ["install", "headless", "window", "see", "fix", "walk"]
    parser.add_argument("--only", action="append", choices=parts, default=[])
    options = parser.parse_args(arguments)
    if sys.platform != "linux" or os.geteuid() != 0:
        print("run_blender_tests.py: a chroot needs Linux and root", file=sys.stderr)
        return 2
    chroot, out = options.chroot.resolve(), options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        make_chroot(chroot)
        for part in (install, headless, window, see, fix, walk):
            if not options.only or part.__name__ in options.only:
                part(chroot, out)
    except DevError as error:
        print(f"run_blender_tests.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Installs the built extension in a real Blender, and solves the example take with and without its window.

    sudo python tools/run_blender_tests.py [--chroot DIR] [--out DIR] [--only PART] [--guide]

Linux, root, and mmdebstrap. Blender comes from Debian sid into a chroot of its own (1.3 GB, a minute or two), with Xvfb
for the window. The mirror is the one of this machine's own apt sources, or DEBIAN_MIRROR. Leaves pictures of the
window in --out; with --guide those of walk and one_view go into docs/pictures. The parts on real footage need the takes
`pose2sim_single` and `single_view` in the folder SIGHTLINE_DATA, or ../shared/data; without them they are skipped, and
say so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this folder stands first on the path and the project does not

from tools.build_extension import this_platform  # noqa: E402
from tools.dev import DevError, run_bounded, say  # noqa: E402

PYTHON = "3.14"  # of Debian sid
PACKAGES = (
    "ca-certificates,python3-numpy,python3-cattr,python3-requests,python3-zstandard,"
    "blender,xvfb,xauth,xdotool,imagemagick,libgl1-mesa-dri"
)
EXTENSION = "bl_ext.user_default.sightline"

# Mounts of a command in the chroot live in a namespace of their own and end with it: nothing outside trips over them.
# So do its /tmp and its network, which has nobody in it: the screens of two runs on one machine would find each other.
ENTER = """
set -eu
for name in proc sys dev; do mount --rbind "/$name" "$1/$name"; done
mount -t tmpfs tmpfs "$1/tmp"
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
script="$1"
shift
blender --offline-mode --window-geometry 0 0 1600 900 \
    --python-exit-code 3 --python "/src/tests/window/$script" -- "$@" || code=$?
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
        "--net",
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


def in_window(chroot: Path, out: Path, script: str, folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """Run a script of tests/window; return what it found. Its pictures must show something."""
    log = out / f"{folder.name}.log"
    said = run_inside(chroot, out, ["sh", "-eu", "-c", WINDOW, "sh", script, *words], 1500, log)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if result.get("error"):
        raise DevError(f"{script} in the window: {result['error']} (see {log} and {folder / 'failed.png'})")
    check_quiet(said, log)
    for picture in sorted((*folder.glob("*.jpg"), *folder.glob("*.png"))):
        words = ["convert", f"/out/{picture.relative_to(out)}", "-colorspace", "Gray", "-format", "%[fx:mean]"]
        if float(run_inside(chroot, out, [*words, "info:"], 60, out / "mean.log")) <= 0:
            raise DevError(f"{picture} is black")
    return result


def check_quiet(said: str, log: Path) -> None:
    """Refuse what Blender says of a panel whose drawing failed: the window goes on without it, and so would a test."""
    lines = said.splitlines()
    failed = next((number for number, line in enumerate(lines) if "Traceback (most recent" in line), None)
    if failed is not None:
        raise DevError("something failed in the window, see " + "\n".join([f"{log}:", *lines[failed : failed + 12]]))


def live(chroot: Path, out: Path) -> None:
    """Load and solve the example from the panel, queue, in German; close Blender while a solve runs."""
    folder = fresh(out / "live")
    result = in_window(chroot, out, "live.py", folder, ["/out/live"])
    child = int((folder / "child.pid").read_text(encoding="utf-8"))
    end = time.monotonic() + 15
    while Path(f"/proc/{child}").exists():
        if time.monotonic() > end:
            raise DevError(f"the process {child} still solves although its Blender is closed")
        time.sleep(0.2)
    say(f"live: {result}")


def see(chroot: Path, out: Path) -> None:
    """Solve the example take from two of its views, draw its uncertainty in the window, leave the guide's pictures."""
    folder = out / "see"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "addon" / "example_take", folder)
    take = (folder / "take.toml").read_text(encoding="utf-8")
    (folder / "take.toml").write_text("[[view]]".join(take.split("[[view]]")[:3]), encoding="utf-8")
    _solve(chroot, out, ["/out/see/take.toml", "--out", "/out/see/results"])
    fresh(folder / "pictures")
    words = ["/out/see/take.toml", "/out/see/pictures"]
    result = in_window(chroot, out, "show_uncertainty.py", folder / "pictures", words)
    aims_ms = {"panels": 2.0, "bones and ellipsoids": 10.0, "footage": 10.0}
    for what, aim in aims_ms.items():
        if not result[f"median ms: {what}"]["together"] <= 2 * aim:  # others work here too
            raise DevError(f"drawing {what} takes more than {2 * aim} ms of the processor (the aim: {aim}): {result}")
    say(f"see: {result}")


def walk(chroot: Path, out: Path) -> None:
    """Go through the whole panel with the example take, from an empty scene to an exported FBX."""
    folder = fresh(out / "walk")
    shutil.copytree(ROOT / "addon" / "example_take", folder / "take")
    _walked(chroot, out, folder, "/out/walk/take/videos", "/out/walk/take/calibration.toml")


def walk_real(chroot: Path, out: Path) -> None:
    """Do the same with real footage, two of whose videos are letterboxed."""
    real = real_footage("walk_real", "pose2sim_single")
    if real is None:
        return
    folder = fresh(out / "walk_real")
    shutil.copytree(real / "videos", folder / "take")
    shutil.copy(real / "calibration" / "Calib.qca.txt", folder)
    _walked(chroot, out, folder, "/out/walk_real/take", "/out/walk_real/Calib.qca.txt", "letterbox")


def one_view(chroot: Path, out: Path) -> None:
    """Solve one of the example's videos alone, and look at the poses that are sampled for what it leaves open."""
    folder = fresh(out / "one_view")
    shutil.copytree(ROOT / "addon" / "example_take", folder / "take")
    words = ["/out/one_view/take/videos/cam02.mp4", "/out/one_view", "/out/one_view/take/calibration.toml"]
    say(f"one_view: {in_window(chroot, out, 'one_view.py', folder, words)}")


def one_view_real(chroot: Path, out: Path) -> None:
    """Do the same with a real video, two people in the low sun, and a camera of the scene on a tripod."""
    real = real_footage("one_view_real", "single_view")
    if real is None:
        return
    folder = fresh(out / "one_view_real")
    shutil.copy(real / "demo.mp4", folder)
    words = ["/out/one_view_real/demo.mp4", "/out/one_view_real"]
    say(f"one_view_real: {in_window(chroot, out, 'one_view.py', folder, words)}")


def real_footage(part: str, take: str) -> Path | None:
    """Return the folder of a real take; None, said, where it is not on this machine."""
    real = Path(os.environ.get("SIGHTLINE_DATA") or ROOT.parent / "shared" / "data") / take
    if real.is_dir():
        return real
    say(f"{part}: SKIPPED, no folder {real}: name the real footage with SIGHTLINE_DATA")
    return None


def _walked(chroot: Path, out: Path, folder: Path, videos: str, calibration: str, *fit: str) -> None:
    result = in_window(chroot, out, "walk.py", folder, [videos, calibration, f"/out/{folder.name}", *fit])
    if result["drag_error_px"] > 1:
        raise DevError(f"a keypoint that was dragged stands beside the mouse: {result}")
    if result["own_freeze_s"] > 1:  # without what others kept the processor; drawing once in software takes 0.7 s of it
        raise DevError(f"the window stood still: {result}")
    if result["keys"] < 5 * result["keys_cleaned"]:
        raise DevError(f"the cleaned layer has too many keys: {result}")
    if not 0 < result["farthest_sigmas"] < 2.05:  # single precision of the keys
        raise DevError(f"the cleaned layer leaves the uncertainty: {result}")
    if not result["moved_mm"] > 2 * result["moved_far_off_mm"]:  # the aim: 10 times; in a short take most is near
        raise DevError(f"the correction did not move its joint, or the whole take: {result}")
    say(f"{folder.name}: {result}")


def fresh(folder: Path) -> Path:
    """Return a folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def guide(chroot: Path, out: Path) -> None:
    """Make the guide's pictures of those that the walk with the example take, and the single video, have left."""
    for picture in sorted((*(out / "walk").glob("*.jpg"), *(out / "one_view").glob("*.jpg"))):
        inside = f"/out/{picture.parent.name}"
        small = ["-resize", "1100x", "-quality", "72", "-strip", f"{inside}/small_{picture.name}"]
        run_inside(chroot, out, ["convert", f"{inside}/{picture.name}", *small], 60, out / "convert.log")
        name = picture.stem.partition("_")[2]
        shutil.move(picture.with_name(f"small_{picture.name}"), ROOT / "docs" / "pictures" / f"guide_{name}.jpg")


def main(arguments: Sequence[str]) -> int:
    """Run the parts that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="run_blender_tests.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chroot", type=Path, default=ROOT / "build" / "blender-sid")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "blender-tests")
    parts = (install, headless, live, see, one_view, one_view_real, walk, walk_real)
    parser.add_argument("--only", action="append", choices=[part.__name__ for part in parts], default=[])
    parser.add_argument("--guide", action="store_true", help="put the pictures of walk and one_view into the guide")
    options = parser.parse_args(arguments)
    if sys.platform != "linux" or os.geteuid() != 0:
        print("run_blender_tests.py: a chroot needs Linux and root", file=sys.stderr)
        return 2
    chroot, out = options.chroot.resolve(), options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        make_chroot(chroot)
        for part in parts:
            if not options.only or part.__name__ in options.only:
                part(chroot, out)
        if options.guide:
            guide(chroot, out)
    except DevError as error:
        print(f"run_blender_tests.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

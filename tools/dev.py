"""Makes the environment, runs the tests, runs the demo. Needs a Python 3.11 with pip and nothing else.

python tools/dev.py env [training|gpu]
python tools/dev.py test [--full]
python tools/dev.py demo [--out DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
EXAMPLE_TAKE = ROOT / "addon" / "example_take"
DETECTOR_PACK = "blazepose"
# The older LTS versions, with the numpy that they carry (and a scipy that accepts it).
OLDER_BPY = {
    "42": {"bpy": "4.2.23", "numpy": "1.24.3", "scipy": "1.15.3"},
    "45": {"bpy": "4.5.15", "numpy": "1.26.4"},
}
STUBS = "fake-bpy-module-5.0"
PYTHON = (3, 11)
RUNNING: list[subprocess.Popen[bytes]] = []  # commands of `run_bounded`


class DevError(Exception):
    """What cannot go on, in one line that says what to do."""


@dataclass(frozen=True)
class Outcome:
    """How many tests (or single checks) of a step passed, failed and were skipped."""

    name: str
    passed: int
    failed: int
    skipped: int = 0


# ---- processes ----


def say(line: str) -> None:
    """Print one line at once, so that it stands before what a child process prints."""
    print(line, flush=True)


def run_bounded(
    command: Sequence[str | Path],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
) -> int:
    """Run a command from the project root; when it outlives its time, end it with all its children.

    Args:
        command: its words.
        timeout_s: until it is ended.
        env: added to ours.
        output: where it prints; None: where we do.

    Returns:
        The exit code; 124 when the time was over.
    """
    words = [str(word) for word in command]
    own_group = os.name == "posix"
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        start_new_session=own_group,
        stdout=output,
        stderr=output and subprocess.STDOUT,
    ) as process:
        RUNNING.append(process)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            say(f"stopped after {timeout_s:.0f} s: {' '.join(words)}")
            return 124
        finally:
            end_group(process)
            RUNNING.remove(process)


@contextlib.contextmanager
def beside() -> Iterator[ThreadPoolExecutor]:
    """Give a pool for commands that run while others do; if these fail or are interrupted, all commands end."""
    with ThreadPoolExecutor() as pool:
        try:
            yield pool
        except BaseException:
            for process in RUNNING.copy():
                end_group(process)
            raise


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process of `run_bounded` and whatever it started, if anything of it is still there."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:  # it is gone already
            return
    elif process.poll() is None:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False, capture_output=True)


# ---- environments ----


def read_constraints(text: str, where: str = "constraints") -> dict[str, str]:
    """Return name -> version of a constraints file; a line that pins nothing is an error naming it."""
    pins: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        name, equals, version = line.partition("==")
        if not equals or not name.strip() or not version.strip():
            raise DevError(f"{where}:{number}: {line!r} is not a pin of the form name==version")
        pins[name.strip()] = version.strip()
    return pins


def requirements(*extras: str) -> list[str]:
    """Return the dependencies that pyproject.toml names, and those of the extras."""
    import tomllib  # here, so that an older Python gets as far as saying that it is too old

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(name for extra in extras for name in optional[extra])]


def venv_python(folder: Path) -> Path:
    """Return where the interpreter of a virtual environment stands on this system."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp_of(wanted: Sequence[str], constraints: str) -> str:
    """Return a hash that changes whenever something else would be installed."""
    return hashlib.sha256(json.dumps([sorted(wanted), constraints, sys.version_info[:2]]).encode()).hexdigest()


def read_stamp(folder: Path) -> dict[str, str]:
    """Return the stamp of an environment; empty when it was never finished or cannot be run."""
    try:
        stamp = json.loads((folder / "sightline.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and venv_python(folder).exists() else {}


def make_venv(folder: Path) -> None:
    """Create an empty virtual environment unless a working one stands there."""
    python = venv_python(folder)
    if python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise DevError(
            "this Python cannot make virtual environments (ensurepip or venv is missing): "
            "install them (Debian and Ubuntu: apt-get install python3.11-venv) and run this again"
        )
    say(f"making {folder.name}")
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)]).returncode:
        raise DevError(f"could not make the virtual environment {folder}")


def pip_install(folder: Path, wanted: Sequence[str], constraints: Mapping[str, str], *options: str) -> None:
    """Install packages at their pinned versions."""
    pins = folder / "constraints.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()), encoding="utf-8")
    quiet = [] if sys.stdout.isatty() else ["--quiet", "--progress-bar", "off"]
    command = [venv_python(folder), "-m", "pip", "install", "--disable-pip-version-check", *quiet]
    if subprocess.run([*command, *options, "-c", pins, *wanted], cwd=ROOT).returncode:
        raise DevError(f"pip could not install into {folder.name}: see its lines above, then run this again")


def make_environment(
    folder: Path, wanted: Sequence[str], runtime: str | None = None, other_pins: Mapping[str, str] | None = None
) -> Path:
    """Make or refresh one environment; does nothing when its stamp says that it is as wanted.

    Args:
        folder: where the environment stands.
        wanted: requirements; each package that the constraints name comes in that version.
        runtime: "onnxruntime" or "onnxruntime-gpu"; None keeps the one that is there.
        other_pins: versions that replace those of the constraints.

    Returns:
        Its interpreter.
    """
    text = CONSTRAINTS.read_text(encoding="utf-8")
    pins = {**read_constraints(text, CONSTRAINTS.name), **(other_pins or {})}
    before = read_stamp(folder)
    runtime = runtime or before.get("runtime", "onnxruntime")
    stamp = {"hash": stamp_of(wanted, json.dumps(pins)), "runtime": runtime}
    if before == stamp:
        return venv_python(folder)
    started = time.monotonic()
    make_venv(folder)
    (folder / "sightline.json").unlink(missing_ok=True)
    say(f"installing {len(wanted)} packages and what they need into {folder.name} (a minute or two)")
    pip_install(folder, [name for name in wanted if not name.startswith("onnxruntime")], pins)
    install_runtime(folder, runtime, pins)
    (folder / "sightline.json").write_text(json.dumps(stamp), encoding="utf-8")
    say(f"{folder.name} is ready after {time.monotonic() - started:.0f} s")
    return venv_python(folder)


def install_runtime(folder: Path, runtime: str, pins: Mapping[str, str]) -> None:
    """Install one of the two packages that carry ONNX Runtime; side by side they overwrite each other's files."""
    other = "onnxruntime" if runtime == "onnxruntime-gpu" else "onnxruntime-gpu"
    command = [venv_python(folder), "-m", "pip"]
    if subprocess.run([*command, "show", "--quiet", other], capture_output=True).returncode == 0:
        subprocess.run([*command, "uninstall", "--quiet", "--yes", runtime, other], check=True)
    pip_install(folder, [runtime + ("[cuda,cudnn]" if runtime == "onnxruntime-gpu" else "")], pins)


def main_environment(runtime: str | None = None) -> Path:
    """Make `.venv`: everything but PyTorch, with the bpy module, its stubs aside, and the detector pack."""
    folder = ROOT / ".venv"
    python = make_environment(folder, [*requirements("fetch", "dev"), "bpy"], runtime)
    if not (folder / "stubs" / "bpy-stubs").is_dir():
        # Stubs in site-packages would shadow the bpy module itself.
        options = ["--no-deps", "--target", str(folder / "stubs")]
        pip_install(folder, [STUBS], read_constraints(CONSTRAINTS.read_text(encoding="utf-8")), *options)
    fetch_detector(python)
    return python


def fetch_detector(python: Path) -> None:
    """Fetch the default detector unless it is there."""
    look = f"from inference.perception.card import find_card; find_card({DETECTOR_PACK!r})"
    if subprocess.run([python, "-c", look], cwd=ROOT, capture_output=True).returncode == 0:
        return
    say(f"fetching the detector pack {DETECTOR_PACK}")
    if subprocess.run([python, "-m", "inference", "models", "fetch", DETECTOR_PACK], cwd=ROOT).returncode:
        raise DevError(
            f"the detector pack {DETECTOR_PACK} could not be fetched: see the line above, then run this again"
        )


def training_environment() -> Path:
    """Make `.venv-training`: as above with PyTorch, without Blender."""
    return make_environment(ROOT / ".venv-training", requirements("training", "dev"))


def older_environment(short: str) -> Path:
    """Make the environment of one older Blender, for its suite alone."""
    wanted = [*requirements(), "bpy", "pytest", "pytest-timeout", "hypothesis"]
    return make_environment(ROOT / f".venv-bpy{short}", wanted, other_pins=OLDER_BPY[short])


# ---- tests ----


def count_results(junit: Path, name: str, code: int) -> Outcome:
    """Read pytest's own counts; a suite that died before it could write them has failed once."""
    try:
        suites = list(ElementTree.parse(junit).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return Outcome(name, 0, 1)
    total, bad, skipped = (
        sum(int(suite.get(key, 0)) for suite in suites for key in keys)
        for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    failed = bad if code == 0 or bad else 1  # died after its last test
    return Outcome(name, total - bad - skipped, failed, skipped)


def run_suite(name: str, python: Path, arguments: Sequence[str], timeout_s: float, env: Mapping[str, str]) -> Outcome:
    """Run pytest in its own process, which is killed when its time is over; what it prints comes when it is done."""
    say(f"--- {name}: begun ---")
    junit = ROOT / "build" / "tests" / f"{name.replace(' ', '-')}.xml"
    junit.parent.mkdir(parents=True, exist_ok=True)
    junit.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-q", f"--junitxml={junit}", "-o", "junit_family=xunit2", *arguments]
    with junit.with_suffix(".log").open("w+b") as log:
        outcome = count_results(junit, name, run_bounded(command, timeout_s, env, log))
        log.seek(0)
        say(f"--- {name} ---\n{log.read().decode(errors='replace')}")
    return outcome


def run_check(name: str, command: Sequence[str | Path], timeout_s: float = 300) -> Outcome:
    """Run one check that is either clean or not."""
    say(f"--- {name} ---")
    code = run_bounded(command, timeout_s)
    return Outcome(name, int(code == 0), int(code != 0))


def has_tests(folder: str) -> bool:
    """Tell whether a folder of tests/ holds any."""
    return any((ROOT / "tests" / folder).rglob("test_*.py"))


def run_checks(python: Path) -> list[Outcome]:
    """Run what reads the code without running it."""
    return [
        run_check("ruff check", [python, "-m", "ruff", "check", "."]),
        run_check("ruff format", [python, "-m", "ruff", "format", "--check", "."]),
        run_check("pyright", [python, "-m", "pyright", "--pythonpath", python]),
        run_check("measure_style", [python, "tools/measure_style.py"]),
    ]


def run_other_blenders(older: Mapping[str, Path], env: Mapping[str, str]) -> list[Outcome]:
    """Run the Blender suite under the older LTS versions, and the built extension in a real Blender."""
    outcomes = []
    for short, python in older.items():
        outcomes.append(run_suite(f"bpy {OLDER_BPY[short]['bpy']}", python, ["tests/addon"], 1200, env))
    if sys.platform == "linux" and os.geteuid() == 0:
        command = [venv_python(ROOT / ".venv"), "tools/run_blender_tests.py"]
        return [*outcomes, run_check("real Blender", command, 3600)]
    say("--- real Blender: left out, it needs Linux and root (a chroot) ---")
    return outcomes


def test(full: bool) -> int:
    """Run everything; return the exit code."""
    started = time.monotonic()
    python = main_environment()
    env = {"SIGHTLINE_FUZZ": "10000"} if full else {}
    # All that may fail before the first suite: the counts of an hour of tests must not be lost to it.
    older = {short: older_environment(short) for short in OLDER_BPY} if full else {}
    torch_python = training_environment() if has_tests("training") else None
    outcomes = run_checks(python)
    with beside() as pool:  # most tests keep one core busy, so two suites at a time
        pure = ["tests", "--ignore=tests/addon", "--ignore=tests/training"]
        longest = pool.submit(run_suite, "pure", python, pure, 7200 if full else 1800, env)
        if has_tests("addon"):
            outcomes.append(run_suite("blender", python, ["tests/addon"], 1200, env))
        if torch_python:
            command = [torch_python, "-m", "pyright", "-p", "training", "--pythonpath", torch_python]
            outcomes.append(run_check("pyright training", command))
            outcomes.append(run_suite("training", torch_python, ["tests/training"], 1200, env))
        if full:
            outcomes += run_other_blenders(older, env)
        outcomes.append(longest.result())
    say("")
    for outcome in outcomes:
        say(f"{outcome.name:16} {outcome.passed:5} passed {outcome.failed:3} failed {outcome.skipped:3} skipped")
    passed, failed, skipped = (sum(getattr(o, key) for o in outcomes) for key in ("passed", "failed", "skipped"))
    say(f"{passed} passed, {failed} failed, {skipped} skipped in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


# ---- demo ----


def demo(out: Path) -> int:
    """Solve the example take from its pictures and leave the results in a folder; return the exit code."""
    python = main_environment()
    out.mkdir(parents=True, exist_ok=True)
    solve = [python, "tools/batch_solve.py", "--", EXAMPLE_TAKE / "take.toml", "--out", out, "--export", "fbx"]
    code = run_bounded(solve, 1800)
    if code:
        raise DevError(f"the demo take was not solved (exit code {code}): see the line above")
    for backup in out.glob("*.blend1"):
        backup.unlink()
    code = run_bounded([python, "tools/compare_truth.py", out / "solution.npz", EXAMPLE_TAKE / "truth.npz"], 300)
    say(f"\nresults in {out}:")
    for path in sorted(path for path in out.iterdir() if path.is_file()):
        say(f"  {path.name:20} {path.stat().st_size / 1e6:8.2f} MB")
    return code


# ---- command line ----


def right_python() -> str | None:
    """Return the Python 3.11 to start again with, or None when this is one."""
    if sys.version_info[:2] == PYTHON:
        return None
    found = shutil.which("python3.11")
    if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
        return found
    have = ".".join(map(str, sys.version_info[:2]))
    raise DevError(f"this is Python {have}, and the bpy module needs 3.11: install it and run this with it")


def main(arguments: Sequence[str]) -> int:
    """Read the command line and run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    env = commands.add_parser("env", help="make .venv and fetch the default detector")
    env.add_argument("kind", nargs="?", choices=["training", "gpu"], help="with PyTorch, or with onnxruntime-gpu")
    commands.add_parser("test", help="run the test suite").add_argument("--full", action="store_true")
    demo_parser = commands.add_parser("demo", help="solve the example take")
    demo_parser.add_argument("--out", type=Path, default=Path("out") / "demo")
    options = parser.parse_args(arguments)
    other = right_python()
    if other is not None:
        return subprocess.run([other, __file__, *arguments]).returncode
    if options.command == "test":
        return test(options.full)
    if options.command == "demo":
        return demo(options.out.resolve())
    if options.kind == "training":
        training_environment()
    else:
        main_environment("onnxruntime-gpu" if options.kind == "gpu" else "onnxruntime")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DevError as error:
        sys.exit(f"dev.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

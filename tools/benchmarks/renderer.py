"""Speed of the renderer of synthetic people: in the environment of the trainings, one thread."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools.benchmarks.rows import Row, skipped

ROOT = Path(__file__).resolve().parents[2]
_CORES = 2
_GOAL = {"basic setting": 25.0, "every feature": 15.0}  # images per second on two cores
_CHILD = """
import json, sys, tempfile, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from inference.errors import SolveError
from training.data.make_pack import tiny_pack
from training.data.synthetic.settings import BASIC, EVERYTHING
from training.data.synthetic.views import SyntheticViews
pack, rates = tiny_pack(shapes=4, triangles=4600), {}
for name, settings in (("basic setting", BASIC), ("every feature", EVERYTHING)):
    views = SyntheticViews(pack, settings, seed=0)
    views.batch(range(16))
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        views.batch(range(16, 48))
        seconds.append(time.process_time() - begun)
    rates[name] = 32 / min(seconds)
print(json.dumps(rates))
"""


def synthetic_people() -> Iterable[Row]:
    """Measure pictures of 192×256 per second and core, in processor time, times the cores of the reference machine.

    The same 32 pictures are made five times, and the fastest counts: what others do on the machine makes processor time
    longer too, never shorter. They are made by one process per core that share nothing, so that the product is what two
    cores give.
    """
    group = f"synthetic people, 192×256, {_CORES} cores"
    python = ROOT / ".venv-training" / "bin" / "python"
    if not python.exists():
        return skipped(group, "no .venv-training: run tools/dev.py env training")
    done = subprocess.run([python, "-c", _CHILD], cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        return skipped(group, f"failed: {done.stderr.strip().splitlines()[-1]}")
    rates = json.loads(done.stdout.strip().splitlines()[-1])
    return [
        Row(group, name, "images/s", _CORES * rate, {"goal": _GOAL[name]}, higher_is_better=True)
        for name, rate in rates.items()
    ]

"""Each rule of STYLE.md that ruff checks is switched on: a snippet that breaks it is reported (negative controls)."""

import subprocess
import sys
from pathlib import Path

import pytest

LONG = '"""Say."""\n\n\ndef long() -> None:\n    """Say."""\n' + "    str(1)\n" * 81
BRANCHY = (
    '"""Say."""\n\n\ndef branchy(a: int) -> int:\n    """Say."""\n'
    + "    if a:\n        a += 1\n" * 10
    + "    return a\n"
)
WIDE = '"""Say."""\n\n\ndef wide(' + ", ".join(f"{n}: int" for n in "abcdefgh") + ') -> None:\n    """Say."""\n'

SNIPPETS = [
    ("C901", "inference/x.py", BRANCHY),
    ("PLR0913", "inference/x.py", WIDE),
    ("PLR0915", "inference/x.py", LONG),
    ("T201", "inference/x.py", '"""Say."""\n\nprint("x")\n'),
    ("T201", "addon/x.py", '"""Say."""\n\nprint("x")\n'),
    ("T201", "training/losses/x.py", '"""Say."""\n\nprint("x")\n'),
    ("ERA001", "inference/x.py", '"""Say."""\n\n# x = compute(1)\n'),
    ("BLE001", "inference/x.py", '"""Say."""\n\ntry:\n    str(1)\nexcept Exception:\n    pass\n'),
    ("D103", "inference/x.py", '"""Say."""\n\n\ndef silent() -> None:\n    return None\n'),
    ("ANN001", "inference/x.py", '"""Say."""\n\n\ndef f(a) -> None:\n    """Say."""\n'),
    ("ANN201", "inference/x.py", '"""Say."""\n\n\ndef f(a: int):\n    """Say."""\n    return a\n'),
    ("N801", "inference/x.py", '"""Say."""\n\n\nclass lower:\n    """Say."""\n'),
    ("F401", "tests/x.py", "import os\n"),
    ("I001", "tests/x.py", "import sys\nimport os\n\nprint(os, sys)\n"),
    ("E501", "tests/x.py", "x = '" + "x" * 120 + "'\n"),
    ("B006", "tests/x.py", "def f(a=[]):\n    return a\n"),
    ("UP006", "tests/x.py", "from typing import List\n\nx: List[int] = []\n"),
    ("TID251", "inference/x.py", '"""Say."""\n\nimport bpy\n'),
    ("TID251", "inference/geometry/x.py", '"""Say."""\n\nfrom mathutils import Matrix\n'),
    ("TID251", "inference/x.py", '"""Say."""\n\nimport torch\n'),
    ("TID251", "inference/x.py", '"""Say."""\n\nfrom training import losses\n'),
    ("TID251", "addon/x.py", '"""Say."""\n\nimport torch\n'),
    ("TID251", "addon/x.py", '"""Say."""\n\nfrom inference import types\n'),
    ("TID251", "training/x.py", '"""Say."""\n\nimport bpy\n'),
    ("TID251", "training/x.py", '"""Say."""\n\nimport pickle\n'),
    ("TID251", "training/x.py", '"""Say."""\n\nimport torch\n\nx = torch.load("f", weights_only=False)\n'),
    ("TID251", "training/x.py", '"""Say."""\n\nfrom torch import save\n\nsave({}, "f")\n'),
]


def codes(root: Path, path: str, text: str) -> set[str]:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    done = subprocess.run(
        [*command, f"--stdin-filename={path}", "-"], input=text, text=True, capture_output=True, cwd=root, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {line.split(": ", 1)[1].split()[0] for line in done.stdout.splitlines() if line.startswith(path)}


@pytest.mark.parametrize(("code", "path", "text"), SNIPPETS)
def test_negative_control_violation_is_reported(code, path, text, project_root):
    assert code in codes(project_root, path, text)


CLEAN = '''"""Say."""

import numpy as np


def f(K: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Say."""
    return K @ R
'''


@pytest.mark.parametrize("folder", ["inference", "addon", "training", "tools", "tests"])
def test_clean_code_passes(folder, project_root):
    assert codes(project_root, f"{folder}/x.py", CLEAN) == set()

"""Our code keeps the rules of STYLE.md; and each rule is fed violations and sees them (negative controls)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path, PurePosixPath

import pytest


def load_rules():
    """The rules stand beside this file, which importlib mode does not put on the path."""
    spec = importlib.util.spec_from_file_location("boundary_rules", Path(__file__).with_name("rules.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


rules = load_rules()
FOLDERS = ("inference", "addon", "training", "tools", "tests")


@pytest.fixture(scope="module")
def sources(project_root: Path):
    paths = [path for folder in FOLDERS for path in sorted((project_root / folder).rglob("*.py"))]
    paths += sorted(project_root.glob("*.py"))
    return [
        rules.Source(PurePosixPath(path.relative_to(project_root).as_posix()), path.read_text(encoding="utf-8"))
        for path in paths
    ]


def test_there_is_something_to_check(sources):
    assert {"inference", "addon", "tools", "tests"} <= {source.folder for source in sources}


@pytest.mark.parametrize("rule", sorted(rules.RULES))
def test_our_code_keeps_the_rule(rule, sources):
    # The violations below stand in this file as text: they are not what they show.
    own = [source for source in sources if source.path.name not in ("test_boundaries.py", "rules.py")]
    assert [fault for source in own for fault in rules.RULES[rule](source)] == []


def test_other_files_hold_no_leftovers(project_root):
    paths = [p for name in (*FOLDERS, "docs", ".ci") for p in (project_root / name).rglob("*")]
    paths += project_root.glob("*.*")
    texts = [p for p in paths if p.name == "run" or p.suffix in (".md", ".toml", ".txt", ".html", ".sh", ".yaml")]
    assert project_root / "README.md" in texts
    for path in texts:
        name = PurePosixPath(path.relative_to(project_root).as_posix())
        assert rules.leftovers(rules.Source(name, path.read_text(encoding="utf-8"))) == []


VIOLATIONS = [
    ("forbidden_imports", "inference/geometry/x.py", "import bpy"),
    ("forbidden_imports", "inference/geometry/x.py", "from mathutils import Matrix"),
    ("forbidden_imports", "inference/x.py", "def f():\n    import torch.nn"),
    ("forbidden_imports", "inference/x.py", "import importlib\nimportlib.import_module('training.losses')"),
    ("forbidden_imports", "inference/x.py", "__import__('bpy')"),
    ("forbidden_imports", "inference/x.py", "if 0:\n    from addon import panels"),
    ("forbidden_imports", "inference/x.py", "from inference.types import Camera"),
    ("forbidden_imports", "addon/x.py", "import torch"),
    ("forbidden_imports", "addon/x.py", "from inference import types"),
    ("forbidden_imports", "addon/x.py", "import addon.panels"),
    ("forbidden_imports", "addon/host/axes.py", "import bpy"),
    ("forbidden_imports", "addon/host/axes.py", "def f():\n    from mathutils import Vector"),
    ("forbidden_imports", "training/x.py", "import bpy"),
    ("forbidden_imports", "training/x.py", "from addon import panels"),
    ("escaping_imports", "inference/x.py", "from ..addon import panels"),
    ("escaping_imports", "inference/x.py", "from .. import addon"),
    ("escaping_imports", "inference/geometry/x.py", "from ...training import losses"),
    ("escaping_imports", "inference/geometry/__init__.py", "from ... import x"),
    ("escaping_imports", "inference/x.py", "import importlib\nimportlib.import_module('..addon', __package__)"),
    ("escaping_imports", "addon/x.py", "from ..training import losses"),
    ("escaping_imports", "addon/host/x.py", "from ....elsewhere import y"),
    ("nameless_files", "inference/utils.py", ""),
    ("nameless_files", "addon/helpers/x.py", ""),
    ("nameless_files", "tools/common.py", ""),
    ("nameless_files", "training/misc.py", ""),
    ("printing", "inference/x.py", "print('x')"),
    ("printing", "addon/x.py", "def f():\n    print('x')"),
    ("printing", "training/x.py", "print('x')"),
    ("blind_handlers", "inference/x.py", "try:\n    f()\nexcept Exception:\n    pass"),
    ("blind_handlers", "inference/x.py", "try:\n    f()\nexcept (OSError, Exception):\n    pass"),
    ("blind_handlers", "addon/x.py", "try:\n    f()\nexcept BaseException as e:\n    pass"),
    ("blind_handlers", "training/x.py", "try:\n    f()\nexcept:\n    pass"),
    ("leftovers", "inference/x.py", "PATH = '/home/me/videos'"),
    ("leftovers", "tests/x.py", "# see /work/notes"),
    ("leftovers", "README.md", "pip install --index-url https://pypi.org/simple x"),
    ("leftovers", "tools/x.py", "PATH = 'C:\\\\Users\\\\me'"),
]


@pytest.mark.parametrize(("rule", "path", "text"), VIOLATIONS)
def test_negative_control_violation_is_seen(rule, path, text):
    found = rules.RULES[rule](rules.Source(PurePosixPath(path), text))
    assert len(found) == 1 and found[0].startswith(path)


def test_every_rule_has_a_negative_control():
    assert {rule for rule, _, _ in VIOLATIONS} == set(rules.RULES)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("inference/geometry/x.py", "from ..types import Camera\nfrom . import rotations\nimport numpy"),
        (
            "addon/x.py",
            "import bpy\nfrom ..inference.files import solution\nfrom .host import axes\nfrom .. import inference",
        ),
        ("addon/host/axes.py", "import numpy as np\nfrom ...inference import types"),
        ("training/x.py", "import torch\nfrom inference import layouts\nfrom training import losses"),
        ("inference/cli.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ("inference/x.py", "try:\n    f()\nexcept OSError:\n    pass\nfingerprint('x')"),
        ("tools/x.py", "import bpy\nimport inference\nprint('x')  # usr/tmp, https://example.org/work/x"),
    ],
)
def test_allowed_code_passes(path, text):
    source = rules.Source(PurePosixPath(path), text)
    assert [fault for rule in rules.RULES.values() for fault in rule(source)] == []

"""pyright is really switched on, with our settings: wrong types are reported (negative control)."""

import shutil
import subprocess
import sys

import pytest

WRONG = 'def size(name: str) -> int:\n    return name\n\n\nsize("a").upper()\n'
MISSPELT = "import bpy\n\n\ndef scene() -> None:\n    bpy.data.objects.remove(objekt)\n"


@pytest.fixture
def project(tmp_path, project_root):
    """A project of our settings and stubs, and of no code yet."""
    shutil.copy2(project_root / "pyproject.toml", tmp_path)
    for folder in ("inference", "addon", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "__init__.py").touch()
    return tmp_path


def errors(project) -> str:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    return "\n".join(line for line in done.stdout.splitlines() if " error: " in line)


def test_negative_control_wrong_types_are_reported(project):
    (project / "inference" / "x.py").write_text(WRONG)
    (project / "tools" / "x.py").write_text(WRONG)
    (project / "addon" / "x.py").write_text(MISSPELT)
    found = errors(project)
    assert "inference/x.py:2:12" in found and "inference/x.py:5:11" in found
    assert "tools/x.py:2:12" in found
    assert "addon/x.py:5:29" in found and "objekt" in found


def test_right_types_pass(project):
    (project / "inference" / "x.py").write_text("def size(name: str) -> int:\n    return len(name)\n")
    assert errors(project) == ""

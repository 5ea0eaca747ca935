"""pyright reads training/ with PyTorch's own types: wrong ones are reported (negative control)."""

import shutil
import subprocess
import sys

import pytest

WRONG = "import torch\n\n\ndef size(values: torch.Tensor) -> int:\n    return values.size_of_nothing()\n"
RIGHT = "import torch\n\n\ndef size(values: torch.Tensor) -> int:\n    return values.numel()\n"


@pytest.mark.parametrize(("text", "found"), [(WRONG, True), (RIGHT, False)])
def test_types_of_tensors_are_checked(tmp_path, project_root, text, found):
    folder = tmp_path / "training"
    folder.mkdir()
    shutil.copy2(project_root / "training" / "pyrightconfig.json", folder)
    (folder / "x.py").write_text(text)
    command = [sys.executable, "-m", "pyright", "-p", folder, "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (("size_of_nothing" in done.stdout), done.returncode) == (found, int(found)), done.stdout

"""tools/build_extension.py: the staged extension is whole, and Blender's own validator has the last word."""

import subprocess
import sys
import tomllib
import zipfile

import pytest

from tools import build_extension
from tools.dev import DevError

MANIFEST = build_extension.ROOT / "blender_manifest.toml"


@pytest.fixture(scope="module")
def blender_command():
    try:
        return build_extension.blender_command()
    except DevError as error:
        pytest.skip(str(error))


@pytest.fixture
def small(tmp_path):
    """A staged extension of two files: the validator looks at the manifest, not at the code."""
    folder = tmp_path / "stage"
    (folder / "wheels").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    return folder


def test_candidates_by_hand():
    pins = {"scipy": "1.17.1", "av": "18.1.0"}
    assert build_extension.candidates("av", pins) == ["av==18.1.0", "av<18.1.0"]
    assert build_extension.candidates("scipy", pins) == ["scipy==1.15.3", "scipy==1.17.1", "scipy<1.17.1"]


def test_every_package_is_pinned():
    pins = build_extension.read_constraints(build_extension.CONSTRAINTS.read_text())
    assert set(build_extension.PACKAGES) <= set(pins)


def test_manifest_lists_the_wheels_that_are_there(small):
    for name in ("b-1-py3-none-any.whl", "a-2-cp311-abi3-win_amd64.whl"):
        (small / "wheels" / name).touch()
    build_extension.write_manifest(small, MANIFEST, "windows-x64")
    written = tomllib.loads((small / "blender_manifest.toml").read_text())
    assert written["wheels"] == ["./wheels/a-2-cp311-abi3-win_amd64.whl", "./wheels/b-1-py3-none-any.whl"]
    assert written["platforms"] == ["windows-x64"]
    source = tomllib.loads(MANIFEST.read_text())
    assert {key: written[key] for key in source} == source


def test_no_wheels_zip_is_whole_and_valid(blender_command, blazepose_card, tmp_path):
    name = build_extension.this_platform()
    command = [sys.executable, build_extension.__file__, "--no-wheels", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.zip")
    assert path.name == f"sightline-0.1.0-{name}.zip"
    inside = set(zipfile.ZipFile(path).namelist())
    assert {"__init__.py", "blender_manifest.toml", "LICENSE", "NOTICE", "addon/__init__.py"} <= inside
    assert f"inference/models/{blazepose_card.path.name}" in inside
    assert "inference/models/blazepose.LICENSE.txt" in inside
    assert not [n for n in inside if "__pycache__" in n or n.startswith(("tests", "tools", "."))]
    assert "training/adapt.py" in inside and "inference/models/sightline_s.safetensors" in inside
    assert not [n for n in inside if "weights" in n]


def test_valid_manifest_is_accepted(blender_command, small, tmp_path):
    build_extension.write_manifest(small, MANIFEST, "linux-x64")
    assert build_extension.blender_build(small, tmp_path, "linux-x64").is_file()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('id = "sightline"', 'id = "not an id"'),
        ('version = "0.1.0"', 'version = "first"'),
        ('type = "add-on"', 'type = "widget"'),
        ('blender_version_min = "4.2.0"', 'blender_version_min = "four"'),
        ('network = "', 'telepathy = "'),
        ("tagline = ", f'tagline = "{"x" * 65}"\n# '),
    ],
)
def test_negative_control_broken_manifest_is_refused(blender_command, small, tmp_path, right, wrong):
    text = MANIFEST.read_text()
    assert right in text
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace(right, wrong))
    build_extension.write_manifest(small, broken, "linux-x64")
    with pytest.raises(DevError, match="Blender refuses the extension"):
        build_extension.blender_build(small, tmp_path, "linux-x64")
    assert not list(tmp_path.glob("*.zip"))


def test_negative_control_listed_wheel_that_is_missing_is_refused(blender_command, small, tmp_path):
    (small / "wheels" / "a-1-py3-none-any.whl").touch()
    build_extension.write_manifest(small, MANIFEST, "linux-x64")
    (small / "wheels" / "a-1-py3-none-any.whl").unlink()
    with pytest.raises(DevError, match="Blender refuses the extension"):
        build_extension.blender_build(small, tmp_path, "linux-x64")

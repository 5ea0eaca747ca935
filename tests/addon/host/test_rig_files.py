"""The targets as data: what may stand in a file, and which naming an armature has."""

import pytest
from sightline.addon.host.rig_files import find_rig, match_rig, read_rig_file, rig_files
from sightline.inference.errors import InputError
from sightline.inference.motion.retarget import PARTS

GOOD = 'label = "Mine"\nrest_pose = "T"\nroot = "ground"\n[[naming]]\nhips = ["pelvis"]\nleft_shin = ["calf"]\n'


def test_every_target_names_every_part_once():
    assert [t.key for t in rig_files()] == [
        "mixamo",
        "rigify_human",
        "sightline",
        "unity_humanoid",
        "unreal_manny",
        "vrm",
    ]
    for target in rig_files():
        for naming in target.namings:
            assert tuple(naming) == PARTS
            bones = [bone for names in naming.values() for bone in names]
            assert len(set(bones)) == len(bones)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rest_pose", "rest"), "not rest"),
        (('"T"', '"X"'), "rest_pose"),
        (("left_shin", "left_tail"), "'left_tail' is no part of the body"),
        (('["calf"]', '"calf"'), "left_shin must list names"),
        (("hips =", "spine ="), "needs hips"),
        (("[[naming]]", "[[naming]"), "mine.toml"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert read_rig_file(path).namings == ({"hips": ("pelvis",), "left_shin": ("calf",)},)
    path.write_text(GOOD.replace(*change))
    with pytest.raises(InputError, match=message):
        read_rig_file(path)
    with pytest.raises(InputError, match="no such file|No such file"):
        read_rig_file(tmp_path / "absent.toml")


@pytest.mark.parametrize("key", ["unreal_manny", "Unreal Manny", "unreal-manny", "unreal"])
def test_a_target_is_found_by_key_and_label(key):
    assert find_rig(key).key == "unreal_manny"


def test_the_naming_that_fits_best():
    for target in rig_files():
        for naming in target.namings:
            bones = [bone for names in naming.values() for bone in names]
            match = match_rig([*bones, "Hat", target.root])
            assert match.target == target and match.parts == naming and match.root == target.root
    plain = match_rig(["Hips", "Spine", "LeftArm", "LeftForeArm", "LeftUpLeg", "LeftLeg", "RightUpLeg"])
    assert plain.target.key == "mixamo" and plain.parts["left_forearm"] == ("LeftForeArm",)
    assert "mixamorig:Spine1" in plain.missing

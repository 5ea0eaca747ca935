"""Characters in every naming follow the solved motion, whatever their rest pose, rolls, axes and units are."""

import bpy
import numpy as np
import pytest
from sightline.addon.host.performance import Performance, performance_of
from sightline.addon.host.rig_files import find_rig, rig_files
from sightline.addon.host.rigs import make_rig, retarget_onto
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.errors import InputError
from sightline.inference.motion.retarget import joints_of
from sightline.inference.motion.target_skeleton import new_bones

LIMBS = [
    (side + part, side + start, side + end)
    for side in ("left_", "right_")
    for part, start, end in (
        ("upper_arm", "shoulder", "elbow"),
        ("forearm", "elbow", "wrist"),
        ("thigh", "hip", "knee"),
        ("shin", "knee", "ankle"),
    )
]
FRAMES = np.arange(8) + 101.0


def performance(solution, person=0, take="täke one"):
    return Performance(take, solution.motion, person, FRAMES)


def character(target, rest, solution, seed=0, naming=0, leave_out=()):
    """The user's own: other lengths, odd rolls, standing turned, moved and in centimetres, named as they like."""
    rng = np.random.default_rng(seed)
    lengths = solution.motion.bone_length[0] * np.exp(rng.normal(scale=0.1, size=solution.motion.bone_length.shape[1]))
    bones = new_bones(solution.motion.skeleton, lengths, target.namings[naming], rest, target.root)
    item = bpy.data.objects.new("Фигура", bpy.data.armatures.new("Фигура"))
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in bones:
        if bone.name in leave_out:
            continue
        made = item.data.edit_bones.new(bone.name)
        # Y up and in centimetres inside, as many importers leave it
        made.head, made.tail = ([100 * p[0], 100 * p[2], -100 * p[1]] for p in (bone.head, bone.tail))
        made.roll = rng.uniform(-3, 3)
        made.parent = item.data.edit_bones.get(bone.parent)
    bpy.ops.object.mode_set(mode="OBJECT")
    item.scale = (0.01, 0.01, 0.01)
    item.rotation_euler = (np.pi / 2, 0, 0.9)
    item.location = (1.0, 2.0, 0.0)
    return item


def shown(item, parts, frame):
    """Head and tail in the world of every part, at a frame."""
    bpy.context.scene.frame_set(frame)
    bones = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    world = item.matrix_world
    return {p: (np.array(world @ bones[n[0]].head), np.array(world @ bones[n[-1]].tail)) for p, n in parts.items()}


def worst_angle(item, parts, solution, person=0):
    """Degrees between the character's limbs and the solved ones, the worst of all frames."""
    joints, names = joints_of(solution.motion, person), solution.motion.skeleton.joint_names
    worst = 0.0
    for t, frame in enumerate(FRAMES):
        at = shown(item, parts, int(frame))
        for part, start, end in LIMBS:
            if part in at:
                ours = joints[t, names.index(end)] - joints[t, names.index(start)]
                theirs = at[part][1] - at[part][0]
                cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
                worst = max(worst, float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    return worst


def no_flips(item):
    """Whether every rotation stays on one side of the sphere and turns by less than 90 degrees a frame."""
    action = item.animation_data.action
    layered = hasattr(action, "layers")
    curves = action.layers[0].strips[0].channelbags[0].fcurves if layered else action.fcurves
    by_bone = {}
    for curve in curves:
        if curve.data_path.endswith("rotation_quaternion"):
            by_bone.setdefault(curve.data_path, []).append([key.co[1] for key in curve.keyframe_points])
    values = np.array(list(by_bone.values()))
    return len(values) > 15 and ((values[:, :, 1:] * values[:, :, :-1]).sum(axis=1) > 0.7).all()


@pytest.mark.parametrize("rest", ["T", "A"])
@pytest.mark.parametrize("target", rig_files(), ids=lambda target: target.key)
def test_a_character_of_every_naming(empty_scene, make_body, target, rest):
    solution = make_body()
    for naming in range(len(target.namings)):
        item = character(target, rest, solution, naming=naming, seed=naming)
        match, warnings = retarget_onto(item, performance(solution), target.key)
        assert not warnings and not match.missing
        assert {part: tuple(names) for part, names in match.parts.items()} == dict(target.namings[naming])
        assert worst_angle(item, match.parts, solution) < 0.5
        assert no_flips(item)


def test_without_the_rest_poses_it_would_be_far_off(empty_scene, make_body, monkeypatch):
    """Negative control: the A pose is not a T pose."""
    from sightline.inference.motion import retarget

    monkeypatch.setattr(retarget, "_into_t_pose", lambda part, rig, parts, facing: facing)
    solution, target = make_body(), find_rig("mixamo")
    item = character(target, "A", solution)
    match, _ = retarget_onto(item, performance(solution))
    assert worst_angle(item, match.parts, solution) > 30


def test_hips_and_feet_go_where_the_legs_allow(empty_scene, make_body):
    """The hips' path is the person's, scaled by the length of the legs."""
    solution, target = make_body(), find_rig("unreal")
    item = character(target, "A", solution)
    match, _ = retarget_onto(item, performance(solution))
    rest = item.data.bones
    legs = [
        (rest[a].head_local - rest[b].head_local).length / 100
        for s in "lr"
        for a, b in ((f"thigh_{s}", f"calf_{s}"), (f"calf_{s}", f"foot_{s}"))
    ]
    names = solution.motion.skeleton.bone_names
    scale = sum(legs) / sum(
        solution.motion.bone_length[0, names.index(s + b)] for s in ("left_", "right_") for b in ("thigh", "shin")
    )
    joints, at = joints_of(solution.motion, 0), solution.motion.skeleton.joint_names.index
    for t in (0, 7):
        thighs = shown(item, match.parts, 101 + t)
        middle = (thighs["left_thigh"][0] + thighs["right_thigh"][0]) / 2
        wanted = scale * (joints[t, at("left_hip")] + joints[t, at("right_hip")]) / 2
        np.testing.assert_allclose(middle, wanted, atol=1e-4)


@pytest.mark.parametrize("root", ["hips", "root", "in_place"])
def test_what_carries_the_path(empty_scene, make_body, root):
    solution = make_body()
    item = make_rig(bpy.context, performance(solution), find_rig("mixamo"), "T", root)
    bones = item.pose.bones
    assert ("Root" in bones) == (root == "root")
    hips, ground = [], []
    for frame in (101, 108):
        bpy.context.scene.frame_set(frame)
        hips.append(np.array(item.matrix_world @ bones["mixamorig:Hips"].head))
        ground.append(np.array(bones["Root"].head if root == "root" else (0, 0, 0)))
    if root == "in_place":
        np.testing.assert_allclose(np.array(hips)[:, :2], 0, atol=1e-5)
    else:
        np.testing.assert_allclose(hips, solution.motion.root_translation[[0, 7], 0], atol=1e-5)
    if root == "root":
        np.testing.assert_allclose(np.array(ground)[:, :2], np.array(hips)[:, :2], atol=1e-5)
        np.testing.assert_allclose(np.array(ground)[:, 2], 0, atol=1e-6)


@pytest.mark.parametrize("rest", ["T", "A"])
@pytest.mark.parametrize("units", [1.0, 0.01])
def test_a_new_armature_has_the_persons_joints(empty_scene, make_body, rest, units):
    empty_scene.scene.unit_settings.scale_length = units
    solution, target = make_body(persons=2), find_rig("unity")
    item = make_rig(bpy.context, performance(solution, person=1), target, rest)
    joints, names = joints_of(solution.motion, 1), solution.motion.skeleton.joint_names
    for t, frame in enumerate(FRAMES):
        at = shown(item, target.namings[0], int(frame))
        for part, start, end in (*LIMBS, ("spine", "pelvis", "neck")):
            np.testing.assert_allclose(at[part][0] * units, joints[t, names.index(start)], atol=1e-3)
            np.testing.assert_allclose(at[part][1] * units, joints[t, names.index(end)], atol=1e-3)


def test_the_shown_frame_and_pose_have_no_part_in_it(empty_scene, make_body):
    solution, target = make_body(), find_rig("mixamo")
    found = []
    for frame, bent in ((101, 0.0), (105, 1.0)):
        item = character(target, "A", solution)
        bpy.context.scene.frame_set(frame)
        item.pose.bones["mixamorig:LeftArm"].rotation_quaternion = (0.8, bent * 0.6, 0, 0)
        match, _ = retarget_onto(item, performance(solution))
        found.append(shown(item, match.parts, 106))
    for part, (head, tail) in found[0].items():
        np.testing.assert_allclose(found[1][part], (head, tail), atol=1e-5)


def test_missing_bones_are_named_and_the_others_move(empty_scene, make_body):
    solution, target = make_body(), find_rig("mixamo")
    item = character(target, "T", solution, leave_out=("mixamorig:LeftForeArm", "mixamorig:Spine2"))
    match, warnings = retarget_onto(item, performance(solution))
    assert len(warnings) == 1 and "mixamorig:Spine2, mixamorig:LeftForeArm" in warnings[0]
    del match.parts["left_upper_arm"]  # ends at a bone that is not there
    assert worst_angle(item, match.parts, solution) < 0.5


def test_bones_of_other_names_are_one_line(empty_scene, make_body):
    item = bpy.data.objects.new("snake", bpy.data.armatures.new("snake"))
    bpy.context.scene.collection.objects.link(item)
    with pytest.raises(InputError, match="not named as those of Mixamo: no hips with limbs"):
        retarget_onto(item, performance(make_body()), "mixamo")
    assert item.animation_data is None
    with pytest.raises(InputError, match="empty is no armature"):
        empty = bpy.data.objects.new("empty", None)
        retarget_onto(empty, performance(make_body()))
    with pytest.raises(InputError, match="unknown rig 'spider'; known: mixamo"):
        find_rig("spider")


def test_uneven_scale_and_a_missing_root_are_refused(empty_scene, make_body):
    solution = make_body()
    item = character(find_rig("vrm"), "T", solution, leave_out=("root",))
    with pytest.raises(InputError, match="no root bone above its hips"):
        retarget_onto(item, performance(solution), root="root")
    item.scale = (0.01, 0.02, 0.01)
    with pytest.raises(InputError, match="scaled unevenly"):
        retarget_onto(item, performance(solution))
    item.scale = (-0.01, 0.01, 0.01)
    with pytest.raises(InputError, match="mirrored"):
        retarget_onto(item, performance(solution))


def test_the_users_action_is_kept_and_ours_replaced(empty_scene, make_body):
    solution = make_body()
    item = character(find_rig("mixamo"), "T", solution)
    item.pose.bones["mixamorig:Head"].keyframe_insert("rotation_quaternion", frame=1)
    theirs = item.animation_data.action
    for _ in range(2):
        retarget_onto(item, performance(solution))
    assert theirs.use_fake_user and len(bpy.data.actions) == 2


def test_any_namespace_and_a_renamed_armature(empty_scene, make_body):
    solution = make_body()
    item = character(find_rig("mixamo"), "T", solution)
    for bone in item.data.bones:
        bone.name = bone.name.replace("mixamorig:", "mixamorig7:")
    match, warnings = retarget_onto(item, performance(solution))
    assert not warnings and match.target.key == "mixamo"
    assert worst_angle(item, match.parts, solution) < 0.5


def test_an_edited_armature_goes_out_as_edited(empty_scene, make_body):
    """What the animator changed is read off the scene; what nobody touched comes from the solution."""
    solution = make_body()
    empty_scene.scene.frame_start = 101
    (item,) = build_scene(empty_scene, solution, TakeInfo("täke one")).armatures
    untouched = performance_of(empty_scene.scene, item, solution)
    assert untouched.motion is solution.motion
    item.name = "umbenannt"
    item.keyframe_insert("location", frame=101)  # an edit that leaves the motion as it is
    read = performance_of(empty_scene.scene, item, solution)
    assert read.motion is not solution.motion
    np.testing.assert_allclose(joints_of(read.motion, 0), joints_of(solution.motion, 0), atol=1e-4)
    np.testing.assert_allclose(read.frames, untouched.frames)
    item.location.x = 1.0
    item.keyframe_insert("location", frame=101)
    moved = performance_of(empty_scene.scene, item, solution)
    np.testing.assert_allclose(joints_of(moved.motion, 0), joints_of(solution.motion, 0) + [1, 0, 0], atol=1e-4)


def test_made_again_it_replaces_and_a_new_solve_leaves_it(empty_scene, make_body):
    solution = make_body()
    build_scene(empty_scene, solution, TakeInfo("täke one"))
    for _ in range(2):
        item = make_rig(bpy.context, performance(solution), find_rig("vrm"))
    assert len([o for o in bpy.data.objects if o.type == "ARMATURE"]) == 2
    build_scene(empty_scene, solution, TakeInfo("täke one"))
    assert item.name in bpy.data.objects

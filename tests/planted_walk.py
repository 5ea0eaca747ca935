"""A person who walks with planted feet: legs by inverse kinematics, so heels and toes truly stay in one place.

scene, stands = make_walk(seed=1)                 # Scene, (T, 2) whether the left and the right foot stands
scene, stands = make_walk(seed=1, glide=0.1)      # negative control: standing feet glide forward at 0.1 m/s
scene, stands = make_walk(seed=1, jump=True)      # both feet leave the floor together, five times
"""

from __future__ import annotations

import numpy as np

from inference.layouts import layout
from inference.shapes import BoolArray, FloatArray
from tests.synthetic import Scene, circle_rig

STANCE_S, SWING_S = 0.65, 0.45
SPEED = 0.8  # m/s
LEG_M = (0.43, 0.42)  # thigh, shin
_FOOT = {"ankle": (0, 0, 0.09), "heel": (0, 0.05, 0.03), "big_toe": (0, -0.18, 0.03), "small_toe": (0.04, -0.15, 0.03)}


def make_walk(
    seed: int = 0,
    frames: int = 210,
    fps: float = 60.0,
    cameras: int = 4,
    glide: float = 0.0,
    jump: bool = False,
    leg_m: tuple[float, float] = LEG_M,
) -> tuple[Scene, BoolArray]:
    """Walk along -y through the middle of the circle of cameras; the seed turns phase, step width and arms."""
    rng = np.random.default_rng(seed)
    times = np.arange(frames) / fps
    start = rng.uniform(0, 1)
    body = np.zeros((frames, 3))
    lean = 0.01 * np.sin(2 * np.pi * times[:, None] / (STANCE_S + SWING_S) + rng.uniform(0, 6, 3))
    place, stands = {}, []
    width = rng.uniform(0.08, 0.14)
    hop, on_floor = _jumps(times)
    for number, (side, sign) in enumerate((("left", 1.0), ("right", -1.0))):
        if jump:
            foot = np.stack([np.full(frames, sign * width), np.zeros(frames), hop], axis=-1)
            stands.append(on_floor)
        else:
            foot, stance = _steps(times, start + 0.5 * number, glide)
            foot[:, 0] += sign * width
            foot[:, 1] += SPEED * times[-1] / 2
            stands.append(stance)
        for name, (x, y, z) in _FOOT.items():
            place[f"{side}_{name}"] = foot + np.array([sign * x, y, z])
    if jump:
        body[:, 2] = 0.9 + hop
    else:
        body[:, 1] = SPEED * (times[-1] / 2 - times)
        body[:, 2] = 0.88
    place |= _body(body + lean, times, rng)
    for side in ("left", "right"):
        place[f"{side}_knee"] = _knee(place[f"{side}_hip"], place[f"{side}_ankle"], leg_m)
    names = layout("halpe_26").joint_names
    xyz = np.stack([place[name] for name in names], axis=1)[:, None]
    return Scene(circle_rig(cameras), names, times, xyz), np.stack(stands, axis=1)


def _steps(times: FloatArray, phase: float, glide: float) -> tuple[FloatArray, BoolArray]:
    """(T, 3) sole of one foot and when it stands: still (or gliding) in stance, then over to the next place."""
    cycle = STANCE_S + SWING_S
    count, part = np.divmod(times / cycle + phase, 1.0)
    within = part * cycle
    stance = within < STANCE_S
    slid = glide * STANCE_S
    swing = np.clip((within - STANCE_S) / SWING_S, 0, 1)
    moved = swing**3 * (10 - 15 * swing + 6 * swing**2)
    stride = SPEED * cycle
    ahead = (count - phase) * stride + np.where(stance, glide * within, slid + moved * (stride - slid))
    # the body is over the foot in the middle of its stance
    path = np.stack([np.zeros_like(times), -(ahead + SPEED * STANCE_S / 2), 0.08 * np.sin(np.pi * swing) ** 2], axis=-1)
    return path, stance


def _jumps(times: FloatArray, height: float = 0.15, ground_s: float = 0.3) -> tuple[FloatArray, BoolArray]:
    """(T,) height of the soles while somebody jumps again and again."""
    flight = 2 * np.sqrt(2 * height / 9.81)
    within = times % (ground_s + flight) - ground_s
    on_floor = within < 0
    rise = np.sqrt(2 * 9.81 * height)
    return np.where(on_floor, 0.0, rise * within - 9.81 * within**2 / 2), on_floor


def _body(root: FloatArray, times: FloatArray, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Everything above the legs, facing -y: upright, with arms that swing and a head that turns a little."""
    swing = 0.4 * np.sin(2 * np.pi * times / (STANCE_S + SWING_S) + rng.uniform(0, 6))
    place = {"pelvis": root, "neck": root + np.array([0, 0, 0.50]), "head_top": root + np.array([0, 0, 0.80])}
    place["nose"] = root + np.array([0, -0.12, 0.65])
    for side, sign in (("left", 1.0), ("right", -1.0)):
        down = np.stack([np.zeros_like(swing), -np.sin(sign * swing), -np.cos(swing)], axis=-1)
        fore = np.stack([np.zeros_like(swing), -np.sin(sign * swing + 0.4), -np.cos(sign * swing + 0.4)], axis=-1)
        place[f"{side}_shoulder"] = place["neck"] + np.array([sign * 0.18, 0, 0])
        place[f"{side}_elbow"] = place[f"{side}_shoulder"] + 0.29 * down
        place[f"{side}_wrist"] = place[f"{side}_elbow"] + 0.26 * fore
        place[f"{side}_hip"] = root + np.array([sign * 0.12, 0, 0])
        place[f"{side}_eye"] = root + np.array([sign * 0.03, -0.10, 0.69])
        place[f"{side}_ear"] = root + np.array([sign * 0.075, 0, 0.67])
    return place


def _knee(hip: FloatArray, ankle: FloatArray, leg_m: tuple[float, float]) -> FloatArray:
    """Where two bones from hip to ankle meet, bent forward (-y)."""
    thigh, shin = leg_m
    along = ankle - hip
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    assert (length < thigh + shin).all(), "a leg cannot reach"
    unit = along / length
    part = (length**2 + thigh**2 - shin**2) / (2 * length)
    forward = np.array([0, -1.0, 0]) - unit * (unit @ np.array([0, -1.0, 0]))[:, None]
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    return hip + part * unit + np.sqrt(thigh**2 - part**2) * forward

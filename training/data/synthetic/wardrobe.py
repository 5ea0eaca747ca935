"""What people wear and how they look: drawn by chance, as thresholds on the body's own coordinates.

A garment is the part of the skin where a coordinate of `training.data.body.REGIONS` lies within bounds; it stands off
the body along the normal. Colours are patterns of the template's rest position, so that they move with the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.shapes import FloatArray

from ..body import JOINT_NAMES, REGIONS

# How one person looks; each a number or a colour of `Looks.values`.
_NUMBERS = (
    *("sleeve", "shirt_hem", "neckline", "waist", "leg_hem", "sock", "shoe", "shirt_loose", "leg_loose"),
    *("shirt_kind", "shirt_scale", "leg_kind", "leg_scale", "hair_line", "hair_back", "hair_thick", "beard", "glove"),
    *("shine", "phase", "print", "hat", "belt"),
)
_COLOURS = ("skin", "lips", "hair_colour", "shirt_a", "shirt_b", "leg_a", "leg_b", "shoe_colour", "sock_colour", "iris")
WIDTH = len(_NUMBERS) + 3 * len(_COLOURS)
_PATTERNS = 7  # plain, stripes across, stripes along, checks, blotches, dots, two halves

# Skin in linear light, light to dark.
_SKINS = np.array(
    [
        [0.78, 0.57, 0.45],
        [0.70, 0.47, 0.34],
        [0.58, 0.36, 0.24],
        [0.42, 0.24, 0.15],
        [0.25, 0.13, 0.08],
        [0.12, 0.06, 0.04],
    ]
)
_HAIRS = np.array(
    [
        [0.02, 0.015, 0.012],
        [0.05, 0.03, 0.02],
        [0.12, 0.06, 0.03],
        [0.35, 0.22, 0.1],
        [0.4, 0.12, 0.05],
        [0.45, 0.43, 0.42],
    ]
)


@dataclass(frozen=True, eq=False)
class Looks:
    """The looks of P people."""

    values: Tensor  # (P, WIDTH)

    def number(self, name: str, who: Tensor) -> Tensor:
        """(M,) a number of the persons ``who``."""
        return self.values[:, _NUMBERS.index(name)][who]

    def colour(self, name: str, who: Tensor) -> Tensor:
        """(M, 3) a colour, linear light, of the persons ``who``."""
        start = len(_NUMBERS) + 3 * _COLOURS.index(name)
        return self.values[:, start : start + 3][who]


def draw_look(rng: np.random.Generator) -> FloatArray:
    """Draw one person's looks: (WIDTH,)."""
    u = rng.uniform
    bare = rng.random() < 0.06  # bathing: skin almost everywhere
    n = {
        "sleeve": rng.choice([u(0.02, 0.3), u(0.45, 0.85), u(0.95, 1.6), u(1.85, 2.0)], p=[0.12, 0.38, 0.12, 0.38]),
        "shirt_hem": u(-0.12, 0.22),
        "neckline": u(0.9, 1.06),
        "waist": u(0.12, 0.28),
        "leg_hem": rng.choice([u(0.2, 0.5), u(0.6, 1.0), u(1.1, 1.6), u(1.8, 2.0)], p=[0.14, 0.16, 0.1, 0.6]),
        "sock": rng.choice([3.0, u(1.3, 1.85)]),
        "shoe": rng.choice([3.5, u(1.9, 2.0), u(1.5, 1.8)], p=[0.12, 0.7, 0.18]),
        "shirt_loose": u(0.004, 0.03) if rng.random() < 0.75 else u(0.03, 0.05),
        "leg_loose": u(0.003, 0.025),
        "shirt_kind": rng.choice(_PATTERNS, p=[0.45, 0.12, 0.06, 0.1, 0.12, 0.07, 0.08]),
        "shirt_scale": u(0.7, 1.8),
        "leg_kind": rng.choice(_PATTERNS, p=[0.72, 0.03, 0.05, 0.06, 0.1, 0.04, 0.0]),
        "leg_scale": u(0.7, 1.8),
        "hair_line": rng.choice([u(-0.01, 0.015), u(0.02, 0.06), 0.3], p=[0.8, 0.1, 0.1]),
        "hair_back": rng.choice([u(-0.05, 0.0), u(0.02, 0.12), u(0.12, 0.3)], p=[0.45, 0.3, 0.25]),
        "hair_thick": u(0.004, 0.045),
        "beard": u(0.3, 1.0) * (rng.random() < 0.25),
        "glove": float(rng.random() < 0.05),
        "shine": u(0.0, 0.35),
        "phase": u(0, 100),
        "print": float(rng.random() < 0.25),
        "hat": float(rng.random() < 0.1),
        "belt": float(rng.random() < 0.3),
    }
    if bare:
        n |= {
            "neckline": -9.0,
            "leg_hem": u(0.1, 0.35),
            "sock": 3.0,
            "shoe": 3.5,
            "shirt_loose": 0.0,
            "leg_loose": 0.004,
        }
    c = {name: _cloth_colour(rng) for name in ("shirt_a", "shirt_b", "leg_a", "leg_b", "shoe_colour", "sock_colour")}
    tone = u(0, len(_SKINS) - 1)
    c["skin"] = _between(_SKINS, tone) * u(0.9, 1.1, 3)
    c["lips"] = c["skin"] * [u(0.8, 1.0), u(0.5, 0.75), u(0.5, 0.8)]
    c["hair_colour"] = _between(_HAIRS, u(0, 1.6) if tone > 2.5 else u(0, len(_HAIRS) - 1)) * u(0.8, 1.2)
    c["iris"] = np.array([u(0.02, 0.15), u(0.03, 0.15), u(0.03, 0.2)])
    if rng.random() < 0.1:  # one colour from head to foot
        c["leg_a"] = c["shirt_a"]
    return np.concatenate([[n[name] for name in _NUMBERS], *(c[name] for name in _COLOURS)])


def _between(table: FloatArray, place: float) -> FloatArray:
    low = int(min(place, len(table) - 2))
    return table[low] * (1 - place + low) + table[low + 1] * (place - low)


def _cloth_colour(rng: np.random.Generator) -> FloatArray:
    """Greys, blues and earth tones often, any colour sometimes; linear light."""
    kind = rng.random()
    if kind < 0.4:
        return np.full(3, rng.uniform(0.01, 0.8) ** 1.5) * rng.uniform(0.9, 1.1, 3)
    hue = rng.uniform(0, 1) if kind < 0.7 else rng.choice([0.6, 0.62, 0.08, 0.0, 0.33]) + rng.normal(0, 0.03)
    saturation, value = rng.uniform(0.2, 0.95), rng.uniform(0.03, 0.8)
    rgb = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation + saturation * rgb)


@dataclass(frozen=True, eq=False)
class BodyCoordinates:
    """What garments are cut by, at vertices or at seen points: the columns of REGIONS and the template's position."""

    regions: Tensor  # (M, len(REGIONS))
    place: Tensor  # (M, 3) m
    keypoints: Tensor  # (J, 3) m of the template

    def __getattr__(self, name: str) -> Tensor:
        """A column of REGIONS by its name."""
        if name not in REGIONS:
            raise AttributeError(name)
        return self.regions[:, REGIONS.index(name)]

    def away(self, keypoint: str, shift: tuple[float, float, float] = (0, 0, 0)) -> Tensor:
        """(M, 3) from a keypoint of the template, moved by a shift; both sides of the body as one."""
        folded = torch.cat([self.place[:, :1].abs(), self.place[:, 1:]], dim=1)
        target = self.keypoints[JOINT_NAMES.index(keypoint)] + self.keypoints.new_tensor(shift)
        return folded - target


def _step(value: Tensor, edge: Tensor | float, width: float) -> Tensor:
    """0 below the edge, 1 above, straight over the width."""
    return ((value - edge) / width + 0.5).clamp(0, 1)


def shirt_share(at: BodyCoordinates, looks: Looks, who: Tensor, soft: float) -> Tensor:
    """(M,) 1 where the shirt is."""
    arm = at.arm_share
    sleeve = 1 - _step(at.arm, looks.number("sleeve", who), soft)
    neck = looks.number("neckline", who) - 0.35 * (0.09 - at.place[:, 0].abs()).clamp(min=0) * (at.place[:, 1] < -0.03)
    trunk = _step(at.torso, looks.number("shirt_hem", who), soft) * (1 - _step(at.torso, neck, soft))
    trunk = trunk * (1 - at.head_share) * (1 - _step(at.leg_share, 0.9, soft) * (at.torso < 0).to(trunk.dtype))
    return torch.where(arm > 0.5, sleeve * (looks.number("neckline", who) > 0), trunk)


def leg_share(at: BodyCoordinates, looks: Looks, who: Tensor, soft: float) -> Tensor:
    """(M,) 1 where trousers or shorts are."""
    below = 1 - _step(at.torso, looks.number("waist", who), soft)
    return below * (1 - _step(at.leg, looks.number("leg_hem", who), soft)) * (at.arm_share < 0.5) * (at.torso < 0.6)


def shoe_share(at: BodyCoordinates, looks: Looks, who: Tensor, soft: float) -> Tensor:
    """(M,) 1 where shoes are."""
    return _step(at.leg, looks.number("shoe", who), soft) * (at.leg_share > 0.5)


def hair_share(at: BodyCoordinates, looks: Looks, who: Tensor, soft: float) -> Tensor:
    """(M,) 1 where hair grows or a hat sits: above a line that falls towards the back of the head."""
    ear = at.keypoints[JOINT_NAMES.index("left_ear")]
    back = at.place[:, 1] - ear[1]
    front = 0.068 + looks.number("hair_line", who)
    line = ear[2] + torch.where(
        back < 0,
        front * (-back / 0.06).clamp(0, 1),
        -(back / 0.05).clamp(max=1) * (0.05 + looks.number("hair_back", who)),
    )
    line = torch.where((back.abs() < 0.022) & (at.place[:, 0].abs() > 0.06), line.clamp(min=ear[2] + 0.02), line)
    line = torch.where(looks.number("hat", who) > 0, ear[2] + 0.045 - 0.2 * back, line)
    bald = (looks.number("hair_line", who) > 0.2) & (looks.number("hat", who) == 0)
    near = (at.head_share > 0.3) | (at.torso > 0.75)
    return _step(at.place[:, 2], line, soft * 0.1) * ~bald * near * (at.arm_share < 0.3)


def thickness(at: BodyCoordinates, looks: Looks, who: Tensor) -> Tensor:
    """(M,) metres by which clothes and hair stand off the skin at vertices."""
    wave = 0.7 + 0.3 * torch.sin(at.place @ at.place.new_tensor([23.0, 31.0, 19.0]) + looks.number("phase", who))
    shirt = shirt_share(at, looks, who, 0.1) * looks.number("shirt_loose", who) * wave
    legs = leg_share(at, looks, who, 0.1) * looks.number("leg_loose", who) * wave
    shoes = shoe_share(at, looks, who, 0.1) * 0.009
    hair = hair_share(at, looks, who, 0.3) * looks.number("hair_thick", who) * (0.75 + 0.25 * wave)
    hair = hair + hair_share(at, looks, who, 0.3) * looks.number("hat", who) * 0.012
    glove = at.hand_share * looks.number("glove", who) * 0.004
    return torch.stack([shirt, legs, shoes, hair, glove]).amax(0) * (1 - at.eye)


def paint(at: BodyCoordinates, looks: Looks, who: Tensor) -> tuple[Tensor, Tensor]:
    """Return (M, 3) albedo in linear light and (M,) shine of seen points."""
    p, phase = at.place, looks.number("phase", who)
    grain = blotches(p * 60, phase)
    colour = looks.colour("skin", who) * (0.92 + 0.16 * grain[:, None])
    colour = _face(colour, at, looks, who)
    shine = torch.full_like(phase, 0.12)

    def lay(share: Tensor, over: Tensor, gloss: Tensor | float) -> None:
        nonlocal colour, shine
        on = share > 0.5
        colour = torch.where(on[:, None], over, colour)
        shine = torch.where(on, gloss, shine)

    lay((at.leg_share > 0.5) & (at.leg > looks.number("sock", who)), looks.colour("sock_colour", who), 0.02)
    lay(leg_share(at, looks, who, 0.004), pattern(p, looks, who, "leg"), looks.number("shine", who) * 0.5)
    lay(shirt_share(at, looks, who, 0.004), pattern(p, looks, who, "shirt"), looks.number("shine", who) * 0.5)
    belt = (
        (looks.number("belt", who) > 0) & ((at.torso - looks.number("waist", who)).abs() < 0.03) & (at.arm_share < 0.5)
    )
    lay(belt & (looks.number("neckline", who) > 0), looks.colour("shoe_colour", who), 0.2)
    lay(
        shoe_share(at, looks, who, 0.004),
        looks.colour("shoe_colour", who) * (0.6 + 0.4 * grain[:, None]),
        looks.number("shine", who),
    )
    lay(at.hand_share * looks.number("glove", who), looks.colour("sock_colour", who), 0.05)
    strands = blotches(p * p.new_tensor([160.0, 160.0, 40.0]), phase)[:, None]
    hair = torch.where(
        looks.number("hat", who)[:, None] > 0,
        looks.colour("shirt_b", who),
        looks.colour("hair_colour", who) * (0.5 + strands),
    )
    lay(hair_share(at, looks, who, 0.004) * (1 - at.eye), hair, 0.15)
    return colour.clamp(0.005, 0.95), shine


def _face(colour: Tensor, at: BodyCoordinates, looks: Looks, who: Tensor) -> Tensor:
    """Eyes, brows, lips, nostrils, cheeks and beard painted on skin."""
    head = at.head_share > 0.5
    front = head & (at.place[:, 1] < at.keypoints[JOINT_NAMES.index("left_ear"), 1] - 0.03)
    eye = at.away("left_eye")
    flat = (eye[:, 0] ** 2 + eye[:, 2] ** 2).sqrt()
    white = looks.values.new_tensor([0.75, 0.73, 0.7])
    ball = torch.where((flat < 0.0065)[:, None], looks.colour("iris", who), white)
    colour = torch.where((at.eye > 0.5)[:, None], ball, colour)
    rim = (
        front & (at.eye <= 0.5) & (eye[:, 0].abs() < 0.017) & ((eye[:, 2] - 0.007 + 12 * eye[:, 0] ** 2).abs() < 0.004)
    )
    brow = front & ((eye[:, 0] - 0.003).abs() < 0.022) & ((eye[:, 2] - 0.023 + 9 * eye[:, 0] ** 2).abs() < 0.0045)
    hair = looks.colour("hair_colour", who)
    colour = torch.where((brow | rim)[:, None], 0.8 * hair + 0.03 * colour, colour)
    mouth = at.away("nose", (0, 0, -0.045))
    lips = front & (mouth[:, 0].abs() < 0.024) & (mouth[:, 2].abs() < 0.010 - 0.25 * mouth[:, 0].abs())
    colour = torch.where(lips[:, None], looks.colour("lips", who), colour)
    low = front & (mouth[:, 2] < 0.022) & (mouth[:, 2] > -0.07) & ~lips
    beard = (low * looks.number("beard", who))[:, None]
    return colour * (1 - beard) + beard * hair


def pattern(place: Tensor, looks: Looks, who: Tensor, garment: str) -> Tensor:
    """(M, 3) colours of a garment's cloth."""
    kind = looks.number(f"{garment}_kind", who)
    p = place * (40 * looks.number(f"{garment}_scale", who))[:, None]
    phase = looks.number("phase", who)
    across, along = torch.sin(p[:, 2]), torch.sin(1.3 * p[:, 0] + 0.3 * p[:, 1])
    rough = blotches(p * 0.35, phase) - 0.5
    dots = torch.sin(2 * p[:, 0]) * torch.sin(2 * p[:, 2]) - 0.6
    half = place[:, 0] if garment == "shirt" else place[:, 2]
    choices = torch.stack([torch.full_like(across, -1.0), across, along, across * along, 2 * rough, dots, half * 50])
    chosen = choices.gather(0, kind.long()[None])[0]
    share = (chosen * 4 + 0.5).clamp(0, 1)[:, None]
    share = torch.where(
        (kind == 3)[:, None], 0.5 * (across > 0).to(p.dtype)[:, None] + 0.5 * (along > 0).to(p.dtype)[:, None], share
    )
    if garment == "shirt":
        chest = (place[:, 0] / 0.09) ** 4 + ((place[:, 2] - 0.52) / 0.08) ** 4 < 1
        printed = chest & (looks.number("print", who) > 0) & (rough > 0) & (place[:, 1] < 0)
        share = torch.where(printed[:, None], 1 - share, share)
    folds = 0.82 + 0.36 * blotches(place * place.new_tensor([14.0, 14.0, 7.0]), phase + 7)[:, None]
    return (looks.colour(f"{garment}_a", who) * (1 - share) + looks.colour(f"{garment}_b", who) * share) * folds


def blotches(place: Tensor, phase: Tensor) -> Tensor:
    """(M,) smooth noise about 0.5, within 0 and 1, of points (M, 3), different for each phase."""
    total = torch.zeros_like(phase)
    for (a, b, c), amount in zip(_WAVES, _AMOUNTS, strict=True):
        total += amount * torch.sin(a * place[:, 0] + b * place[:, 1] + c * place[:, 2] + phase * (a + 2 * b))
    return (0.5 + total).clamp(0, 1)


_WAVES = ((1.0, 0.7, -0.4), (-0.6, 1.1, 0.9), (0.8, -1.3, 1.4), (1.9, 1.2, 1.7), (-2.3, 1.8, -2.1))
_AMOUNTS = (0.16, 0.16, 0.12, 0.08, 0.06)

"""What scenes are drawn with: one dataclass, the defaults stand here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneSettings:
    """How scenes look and are framed."""

    size: tuple[int, int] = (192, 256)  # (width, height) px of the pictures; multiples of 16
    framing: str = "person"  # "person": a crop around the first person; "picture": the camera's whole image
    views: int = 1  # cameras that see each scene
    held_out: bool = False  # motions and panoramas that are kept for tests, instead of those for training
    variety: float = 0.9  # of body poses: 0 recorded ones, 1 changed, mixed and invented
    clothes: bool = True  # else bare skin in one colour
    most_people: int = 3
    occluders: float = 0.3  # probability that boxes and balls stand before the person
    backdrops: tuple[str, ...] = ("panorama", "room", "noise")
    shadows: bool = True
    sensor: bool = True  # noise, blur, colour and compression
    supersample: int = 1  # rays per pixel along each side


BASIC = SceneSettings(most_people=1, occluders=0.0, backdrops=("panorama",), shadows=False, sensor=False, clothes=True)
EVERYTHING = SceneSettings()

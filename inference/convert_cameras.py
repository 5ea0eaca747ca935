"""A calibration of one tool as that of another, without footage: what it says in metres, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InputError
from .files.anipose_toml import write_anipose_toml
from .files.calibration import read_calibration, read_lenses
from .files.camera_table import Distance, FramePath, Size
from .files.colmap import write_colmap
from .files.easymocap import write_easymocap
from .types import Camera

FORMATS = ("toml", "easymocap", "colmap", "colmap-opencv")


@dataclass(frozen=True, eq=False)
class Converted:
    """The cameras that were written, and warnings of reading and writing."""

    cameras: tuple[Camera, ...]
    warnings: tuple[str, ...]
    poses: Mapping[str, int]  # of cameras that move, whose first poses the distances are of

    @property
    def lines(self) -> list[str]:
        """One line per camera: picture, focal length, and how far the nearest camera is, in metres."""
        centres = np.array([camera.centre for camera in self.cameras])
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
        np.fill_diagonal(apart, np.inf)
        told = []
        for camera, row in zip(self.cameras, apart, strict=True):
            width, height = camera.intrinsics.image_size
            nearest = ""
            if len(row) > 1:
                nearest = f", {row.min():.3f} m to the nearest camera ({self.cameras[int(row.argmin())].name})"
            moves = f", moves ({self.poses[camera.name]} poses)" if camera.name in self.poses else ""
            told.append(f"{camera.name}: {width}x{height}, f = {camera.intrinsics.K[0, 0]:.1f} px{nearest}{moves}")
        return told


def convert_cameras(
    source: Path,
    out: Path,
    file_format: str = "toml",
    units: str | None = None,
    distance: Distance | None = None,
    intrinsics: Path | None = None,
) -> Converted:
    """Read a calibration of any known tool and write it for another.

    Convention:
        lengths are written in metres. ``toml`` is aniposelib's dialect (a file); ``easymocap`` and ``colmap`` are
        folders; ``colmap-opencv`` uses COLMAP's model of four coefficients, which more tools read.

    Args:
        source: the calibration, a file or a folder.
        out: the file or folder to write.
        file_format: one of `FORMATS`.
        units: m, cm or mm where the user says so.
        distance: of two cameras, for a calibration without a scale.
        intrinsics: a second source, for lenses of poses that come without.

    Returns:
        What was written.

    Raises:
        InputError: a file is broken, its scale unknown, or the format cannot hold a lens or a name.
    """
    if file_format not in FORMATS:
        raise InputError(f"format {file_format!r} is unknown; known: {', '.join(FORMATS)}")
    if distance is not None and units is not None:
        raise InputError("say the units or the distance of two cameras, not both")
    sizes: dict[str, Size] = {}
    lenses = read_lenses(intrinsics).lenses if intrinsics is not None else {}
    calibration = read_calibration(source, units, None, sizes, lenses, distance)
    cameras = tuple(calibration.cameras.values())
    if not cameras:
        raise InputError(f"{source} gives no camera a pose, so there is nothing to convert")
    unposed = [name for name in calibration.lenses if name not in calibration.cameras]
    warnings = list(calibration.warnings)
    if unposed:
        warnings.append(f"{source}: {', '.join(unposed)} without a pose: left out")
    if calibration.turns:
        warnings.append(
            f"{source}: rotation_count of {', '.join(calibration.turns)} is lost: the cameras count in pictures as "
            "they were calibrated, not turned upright"
        )
    if calibration.paths and file_format != "toml":
        raise InputError(
            f"{source}: {', '.join(calibration.paths)} move, and {file_format} holds cameras that stand still; "
            "write toml, or leave them out"
        )
    warnings += _write(out, file_format, cameras, calibration.paths)
    return Converted(cameras, tuple(warnings), {name: len(path.frames) for name, path in calibration.paths.items()})


def _write(out: Path, file_format: str, cameras: Sequence[Camera], paths: Mapping[str, FramePath]) -> list[str]:
    if file_format == "toml":
        write_anipose_toml(out, cameras, paths)
        return []
    if file_format == "easymocap":
        return write_easymocap(out, cameras)
    return write_colmap(out, cameras, four_coefficients=file_format == "colmap-opencv")

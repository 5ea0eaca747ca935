"""The report of a solve: report.json for programs, report.html for people, preview.png for a first look."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..placement import without_placement
from ..types import Footage, Keypoints2D, Solution, SolveReport
from . import sections
from .markup import Html, join, tag
from .preview import Scene, draw_gallery, write_preview
from .record import build_record
from .stylesheet import STYLE

MOST_VIEWS = 6  # with more, no pictures of the heaviest doubt are added


def write_report(
    out_dir: Path,
    solution: Solution,
    views: Sequence[Keypoints2D],
    footages: Mapping[str, Footage],
    report: SolveReport,
) -> None:
    """Write ``report.json``, ``report.html`` (one file, nothing fetched from outside) and ``preview.png``.

    Convention:
        each file is written to a temporary name and renamed. Names from outside are escaped in the page.
        Adds its own time to ``report.seconds`` as "report".

    Args:
        out_dir: an existing folder.
        solution: what was solved.
        views: V views of 2D keypoints, on the solution's times and persons.
        footages: by view name; views without footage are drawn on an empty picture.
        report: what the stages noted: warnings, seconds, models, facts.
    """
    started = time.perf_counter()
    scene, moving = Scene(solution, views, footages), without_placement(solution)
    if solution.placement_sigma_m.any():
        report.facts["placement_sigma_m"] = float(solution.placement_sigma_m.max())
    record = build_record(Scene(moving, views, footages), report)
    doubtful = sections.heaviest_doubt(record) if len(views) <= MOST_VIEWS else None
    gallery = draw_gallery(scene, [doubtful[0]] if doubtful else [])
    write_preview(out_dir / "preview.png", gallery)
    pictures = sections.views(record, scene, gallery)
    report.seconds["report"] = time.perf_counter() - started
    record["seconds"]["report"] = report.seconds["report"]
    _write(out_dir / "report.json", json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False))
    _write(out_dir / "report.html", build_page(record, moving, pictures))


def build_page(record: sections.Record, solution: Solution, pictures: Html) -> Html:
    """Put the sections together, the most needed first."""
    body = join(
        [
            sections.heading(record),
            sections.warnings(record),
            sections.what_to_trust(record, solution.solved),
            pictures,
            sections.uncertainty(record, solution.solved),
            sections.joints(record),
            sections.bones(record),
            sections.seconds(record),
            sections.models(record),
        ]
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Sightline report: {record['take']}"),
        tag("style", Html(STYLE)),
    )
    return Html("<!DOCTYPE html>\n" + tag("html", head, tag("body", body), lang="en") + "\n")


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)

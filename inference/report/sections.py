"""The sections of the report page, each from the record that report.json holds."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from ..types import Keypoints3D, Reason
from .charts import trust_map, uncertainty_chart
from .judges import worst_sigma
from .markup import Html, join, section, table, tag
from .preview import Gallery, Scene, jpeg
from .trust import CHECK_SIGMA_M, GOOD_SIGMA_M, REASONS, grades, in_words

Record = Mapping[str, Any]
Doubtful = tuple[int, tuple[str, ...]]  # frame and joints

ODD_VIEW = 2.0
FAR_M = 0.3
MOST_LINES = 8  # doubtful spans that are written out per person
GRADES = (
    ("good", f"good (σ ≤ {GOOD_SIGMA_M * 1000:g} mm)"),
    ("check", f"check (σ ≤ {CHECK_SIGMA_M * 1000:g} mm)"),
    ("poor", "do not trust"),
    ("missing", "missing"),
)


def heading(record: Record) -> Html:
    """Say at once whether the take came out well: one sentence, four numbers, the bar of grades."""
    counts, trust = record["counts"], record["trust"]
    solved = record["errors"]["reprojection_px"]["solved"]
    about = (
        f"{counts['frames']} frames, {_number(counts['duration_s'], '.1f')} s at {_number(counts['fps'], '.4g')} fps, "
        f"{_count(counts['views'], 'view')}, {_count(counts['persons'], 'person')}, {counts['joints']} joints. "
        f"Solved by Sightline {record['versions']['sightline']}."
    )
    tiles = (
        (_percent(trust.get("good")), "of all joint positions are good"),
        (_percent(counts["solved_observed_share"]), "have an estimate at all"),
        (
            f"{_number(solved['median'], '.1f')} px",
            f"median distance to the keypoints (95 %: {_number(solved['p95'], '.1f')} px)",
        ),
        (_count(len(record["warnings"]), "warning"), "see below" if record["warnings"] else "nothing to report"),
    )
    return tag(
        "header",
        tag("h1", record["take"]),
        tag("div", about, class_="soft"),
        tag("p", verdict(record), class_="verdict"),
        tag(
            "div",
            *(tag("div", tag("b", value), tag("small", words), class_="tile") for value, words in tiles),
            class_="tiles",
        ),
    )


def verdict(record: Record) -> str:
    """Say in one sentence how much of the take can be used as it is."""
    trust = record["trust"]
    if not trust or trust["missing"] > 0.999:
        return "Nothing was solved: no joint has an estimate."
    usable = trust["good"] + trust["check"]
    start = f"{_percent(usable)} of all joint positions are sure to {CHECK_SIGMA_M * 1000:g} mm or better"
    if usable > 0.97:
        return f"{start}: use it, and look at the spans named below." if record["doubts"] else f"{start}: use it."
    if usable > 0.85:
        return f"{start}: usable, but repair the spans named below before delivery."
    return f"{start}: check this take before you build on it."


def what_to_trust(record: Record, solved: Keypoints3D) -> Html:
    """Name the worst joints and spans in words, and map every joint over time."""
    parts: list[Html] = [
        tag(
            "div",
            *(tag("i", class_=kind, style=f"width:{100 * record['trust'].get(kind, 0):.2f}%") for kind, _ in GRADES),
            class_="bar",
        ),
        _key(),
        tag(
            "p",
            "σ is the standard deviation in the joint’s most uncertain direction. Frames count from 1."
            + _placement(record["facts"].get("placement_sigma_m", 0.0)),
            class_="soft",
        ),
    ]
    grade = grades(solved)
    for person, facts in enumerate(record["persons"]):
        title = [tag("h3", f"Person {person + 1}")] if len(record["persons"]) > 1 else []
        lines = [one for one in record["doubts"] if one["person"] == person]
        parts += [*title, _least_sure(facts), _doubts(lines, facts["unusable_joints"], solved)]
        parts.append(trust_map(grade[:, person], solved.joint_names, record["counts"]["duration_s"] or 0.0))
    return section("What to trust", "trust", *parts)


def _placement(sigma_m: float) -> str:
    if not sigma_m:
        return ""
    return (
        f" It is that of the movement. Where on the body the detector sets a joint, the same in every frame (up to "
        f"{_millimetres(sigma_m, '.0f')}, by its model card), comes on top in the ellipsoids."
    )


def views(record: Record, scene: Scene, gallery: Gallery) -> Html:
    """Show every view's errors, and the solve over its footage."""
    rows = []
    for view in record["views"]:
        error = view["reprojection_px"]
        scale = view["metres_per_pixel"]
        rows.append(
            (
                view["name"] + (" (moves)" if view["moves"] else ""),
                f"{view['size'][0]} × {view['size'][1]}",
                _percent(view["keypoint_share"]),
                *(
                    f"{_number(error[layer]['median'], '.1f')} / {_number(error[layer]['p95'], '.1f')}"
                    for layer in ("raw", "solved", "left_out")
                ),
                f"{_number(scale and scale * 1000, '.1f')} mm",
            )
        )
    headers = ("view", "size", "keypoints", "raw, px", "solved, px", "left out, px", "one px is")
    words = (
        "Distance from the 3D joints to the keypoints found in each view, median / 95 %. “Raw” is each frame alone, "
        "“solved” the finished motion, “left out” how well the other views foretell this one: a view that stands out "
        "there is badly calibrated, out of step in time, or of little help. “One px” is its size at the subject."
    )
    pictures = _pictures(record, scene, gallery)
    hints = view_hints(record)
    listed = [tag("ul", *(tag("li", hint) for hint in hints))] if hints else []
    return section("Views", "views", table(headers, rows), *listed, tag("p", words, class_="soft"), pictures)


def view_hints(record: Record) -> list[str]:
    """Say which views stand out: foretold badly by the others, or with keypoints far from the body.

    Convention:
        badly: a left-out median above `ODD_VIEW` times the middle of the other views; far: one keypoint in twenty
        is more than `FAR_M` from its joint, at the subject's distance.
    """
    hints = []
    for view in record["views"]:
        left_out, solved = (view["reprojection_px"][layer] for layer in ("left_out", "solved"))
        others = [one["reprojection_px"]["left_out"]["median"] for one in record["views"] if one is not view]
        known = sorted(value for value in others if value is not None)
        if known and left_out["median"] is not None and left_out["median"] > ODD_VIEW * known[len(known) // 2]:
            hints.append(f"{view['name']} agrees least with the others: check its calibration, fit and offset_s.")
        far_m = (solved["p95"] or 0.0) * (view["metres_per_pixel"] or 0.0)
        if far_m > FAR_M:
            hints.append(
                f"{view['name']}: one keypoint in twenty is more than {far_m:.1f} m from its joint: another person, "
                "or limbs taken for each other. The solve gives such keypoints little weight."
            )
    return hints + [limb_hint(fact) for fact in record.get("facts", {}).get("limbs", [])]


def limb_hint(fact: Record) -> str:
    """Say what one view did to one limb."""
    whose = f" of person {fact['person'] + 1}" if fact["person"] else ""
    if fact["swapped_share"]:
        exchanged = f"took left and right {fact['limb']}{whose} for each other"
        return f"{fact['view']} {exchanged} in {_percent(fact['swapped_share'])} of the frames: put right."
    share = _percent(fact["disagreeing_share"])
    return f"{fact['view']} disagrees on the {fact['limb']}{whose} in {share} of the frames: given little weight there."


def joints(record: Record) -> Html:
    """List for every joint how often it stands, how sure it is and how well it fits."""
    parts: list[Html] = []
    for person, facts in enumerate(record["persons"]):
        rows = [
            (
                one["name"].replace("_", " "),
                _shares(one),
                _percent(one["triangulated_share"]),
                _percent(one["solved_share"]),
                _millimetres(one["sigma_m"]["median"]),
                _millimetres(one["sigma_m"]["p95"]),
                _number(one["reprojection_px"]["median"], ".1f"),
                _main_reasons(one["reasons"], record["counts"]["frames"]),
            )
            for one in facts["joints"]
        ]
        headers = ("joint", "evidence", "triangulated", "solved", "σ median", "σ 95 %", "fit, px", "why not observed")
        parts += [*_person_title(record, person), table(headers, rows, numbers_from=2)]
    words = (
        "Evidence: green seen, yellow weak or bridged over a gap, red rejected, grey unobserved. Triangulated: share "
        "of frames that the views settle on their own. Solved: share with an estimate after the whole-sequence solve."
    )
    return section("Joints: observed share", "joints", tag("p", words, class_="soft"), *parts)


def _main_reasons(reasons: Record, frames: int) -> str:
    """Name the two reasons that most frames carry, from 1 % of the frames."""
    often = sorted(((count, name) for name, count in reasons.items() if count >= 0.01 * frames), reverse=True)
    return ", ".join(f"{REASONS[Reason[name.upper()]]} {_percent(count / frames)}" for count, name in often[:2])


def bones(record: Record) -> Html:
    """List the lengths that the solve settled on, and how much the raw layer made them breathe."""
    parts: list[Html] = []
    for person, facts in enumerate(record["persons"]):
        rows = [
            (
                one["name"].replace("_", " "),
                _millimetres(one["length_m"]),
                _millimetres(one["raw_median_m"]),
                _millimetres(one["raw_spread_m"], ".1f"),
                _degrees(one["rotation_sigma_rad"]),
            )
            for one in facts["bones"]
        ]
        headers = ("bone", "length", "raw median", "raw spread (1 σ)", "rotation σ")
        parts += [*_person_title(record, person), table(headers, rows)]
        slides = [
            f"{name.replace('_', ' ')} {value * 100:.1f} cm/s"
            for name, value in facts["foot_slide_m_s"].items()
            if value is not None
        ]
        if slides:
            parts.append(tag("p", f"Foot slide while standing: {', '.join(slides)}."))
    errors = record["errors"]
    words = (
        f"Bones do not change their length, so the spread of the raw layer is error: "
        f"{_millimetres(errors['raw_bone_spread_m'], '.1f')} on average. The solved motion keeps each bone constant. "
        f"Shaking from frame to frame: raw {_millimetres(errors['raw_jitter_m'], '.1f')}, "
        f"solved {_millimetres(errors['solved_jitter_m'], '.2f')}."
    )
    return section("Bone lengths", "bones", tag("p", words, class_="soft"), *parts)


def uncertainty(record: Record, solved: Keypoints3D) -> Html:
    """Chart the uncertainty over time."""
    words = (
        "Standard deviation in the most uncertain direction: dark line half of the joints are surer than this, light "
        f"line nine of ten are. Dashed: {GOOD_SIGMA_M * 1000:g} mm (good below) and {CHECK_SIGMA_M * 1000:g} mm "
        "(do not trust above)."
    )
    sigma = worst_sigma(solved.covariance)
    parts: list[Html] = []
    for person in range(sigma.shape[1]):
        parts += [
            *_person_title(record, person),
            uncertainty_chart(sigma[:, person], record["counts"]["duration_s"] or 0.0),
        ]
    return section("Uncertainty over time", "uncertainty", tag("p", words, class_="soft"), *parts)


def seconds(record: Record) -> Html:
    """List where the time went."""
    total = sum(record["seconds"].values())
    rows = [
        (
            stage,
            tag("div", tag("i", class_="time", style=f"width:{100 * value / max(total, 1e-9):.1f}%"), class_="bar"),
            f"{value:.2f} s",
        )
        for stage, value in record["seconds"].items()
    ]
    frames = record["counts"]["frames"] * record["counts"]["views"]
    pace = f" ({frames / total:.0f} pictures per second over all stages)" if total > 0 else ""
    words = (
        f"{total:.1f} s for {record['counts']['frames']} frames in {_count(record['counts']['views'], 'view')}{pace}."
    )
    return section("Seconds per stage", "seconds", tag("p", words), table(("stage", "", "time"), rows, numbers_from=2))


def models(record: Record) -> Html:
    """List the networks that looked at the footage, and the versions of everything that computed."""
    rows = [
        (
            str(one.get("name", "")),
            str(one.get("licence", "")),
            str(one.get("provider", "")),
            tag("code", str(one.get("sha256", ""))),
        )
        for one in record["models"]
    ]
    listed = (
        table(("model", "licence", "ran on", "sha256"), rows, numbers_from=4)
        if rows
        else tag("p", "No network ran: the keypoints were imported.")
    )
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return section("Models and licences", "models", listed, tag("p", versions, class_="soft"))


def warnings(record: Record) -> Html:
    """Show the warnings that gathered on the way; empty where there are none."""
    if not record["warnings"]:
        return Html("")
    items = tag("ul", *(tag("li", one) for one in record["warnings"]))
    return tag("section", tag("h2", "Warnings"), items, id="warnings", class_="warn")


def _least_sure(facts: Record) -> Html:
    """Name the three joints with the largest σ over nearly all of the take."""
    known = [one for one in facts["joints"] if one["sigma_m"]["p95"] is not None]
    worst = sorted(known, key=lambda one: -one["sigma_m"]["p95"])[:3]
    if not worst:
        return Html("")
    named = ", ".join(f"{in_words((one['name'],))} {one['sigma_m']['p95'] * 1000:.0f} mm" for one in worst)
    return tag("p", f"Least sure joints, and the σ that they stay below in 95 % of the frames: {named}.")


def _doubts(lines: Sequence[Record], never: Sequence[str], solved: Keypoints3D) -> Html:
    items = []
    if never:
        items.append(
            tag("li", tag("b", in_words(tuple(never))), ": not usable anywhere in this take; not listed below.")
        )
    for one in lines[:MOST_LINES]:
        first, last = one["first"], one["last"]
        start, stop = solved.timestamps_s[first], solved.timestamps_s[last]
        worst = one["worst_sigma_m"]
        sure = f"; σ up to {worst * 1000:.0f} mm" if worst is not None else "; no estimate"
        where = f", {start:.2f}–{stop:.2f} s (frames {first + 1}–{last + 1}): {one['reason']}{sure}."
        items.append(tag("li", tag("b", in_words(tuple(one["joints"]))), where))
    if len(lines) > MOST_LINES:
        items.append(tag("li", f"and {len(lines) - MOST_LINES} shorter spans; report.json lists them."))
    return tag("ul", *items) if items else tag("p", "No span stands out: every joint is usable in every frame.")


def _pictures(record: Record, scene: Scene, gallery: Gallery) -> Html:
    """Show every view at the gallery's times; the heaviest doubt is named."""
    doubtful = heaviest_doubt(record)
    rows = []
    for frame in gallery.frames:
        figures = [_figure(gallery, v, frame, view["name"]) for v, view in enumerate(record["views"])]
        note = f", doubtful: {in_words(doubtful[1])}" if doubtful and frame == doubtful[0] else ""
        title = f"Frame {frame + 1}, {scene.solution.solved.timestamps_s[frame]:.2f} s{note}"
        rows.append(join([tag("h3", title), tag("div", *figures, class_="pictures")]))
    key = (
        "Orange: the subject’s left; blue: right; white: the middle. Filled ellipses hold the joint’s true place in "
        "95 of 100 cases; green crosses are the keypoints that this view contributed. Pictures are cut to the subject."
    )
    return join([tag("p", key, class_="soft"), *rows])


def heaviest_doubt(record: Record) -> Doubtful | None:
    """Return the middle frame of the heaviest doubtful span of all persons and its joints; None without one."""
    if not record["doubts"]:
        return None
    heaviest = max(record["doubts"], key=lambda one: (one["last"] - one["first"] + 1) * len(one["joints"]))
    return (heaviest["first"] + heaviest["last"]) // 2, tuple(heaviest["joints"])


def _figure(gallery: Gallery, view: int, frame: int, name: str) -> Html:
    """Embed one picture as JPEG; figures of a row share its height."""
    aspect = gallery.aspect(view)
    data = b64encode(jpeg(gallery.pictures[view, frame])).decode()
    image = tag("img", alt=f"{name}, frame {frame + 1}", src=f"data:image/jpeg;base64,{data}")
    return tag("figure", image, tag("figcaption", name), style=f"flex:{aspect:.3f} 1 {170 * aspect:.0f}px")


def _shares(joint: Record) -> Html:
    kinds = (("good", "observed"), ("check", "weak"), ("poor", "rejected"), ("missing", "unobserved"))
    bars = (tag("i", class_=kind, style=f"width:{100 * joint[f'{name}_share']:.1f}%") for kind, name in kinds)
    return tag("div", *bars, class_="bar")


def _key() -> Html:
    pieces = [piece for kind, words in GRADES for piece in (tag("i", class_=kind), words)]
    return tag("div", *pieces, class_="key soft")


def _person_title(record: Record, person: int) -> list[Html]:
    return [tag("h3", f"Person {person + 1}")] if len(record["persons"]) > 1 else []


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    """Write a share; never round up to 100 % or down to 0 %."""
    if value is None:
        return "–"
    if 0 < value < 0.01 or 0.99 < value < 1:
        return f"{min(max(100 * value, 0.1), 99.9):.1f} %"
    return f"{100 * value:.0f} %"


def _degrees(value: float | None) -> str:
    return "–" if value is None else f"{value * 180 / math.pi:.1f}°"


def _millimetres(value: float | None, form: str = ".0f") -> str:
    return "–" if value is None else f"{value * 1000:{form}} mm"

"""What the panel holds: the take, the choices, and the settings of a solve (the only map between them).

Annotations are live objects here: Blender reads its properties from them. None has an update function: with
one, the bpy module of Blender 4.2 crashes when Python ends, even after unregistering. So it does with a Python
``@property`` in a registered class: what is computed from a group stands in functions.
Lengths are metres without Blender's unit, which counts in the scene's own: 1.8 would become 180 where that is a
centimetre.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import dataclasses
import json
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    IntVectorProperty,
    PointerProperty,
    StringProperty,
)

from ..inference.config import CHOICES, SolveSettings
from .host.export_formats import NAMES, about, label_of
from .host.hypotheses import MOST_SHOWN
from .host.rig_files import rig_files
from .setting_words import CHOICE_WORDS, SETTING_WORDS

# Paths may begin with "//", the folder of the .blend file; since 4.5 Blender warns where that is not declared.
_RELATIVE = {"options": {"PATH_SUPPORTS_BLEND_RELATIVE"}} if bpy.app.version >= (4, 5, 0) else {}
_FILE: dict[str, Any] = {"subtype": "FILE_PATH", **_RELATIVE}
_FOLDER: dict[str, Any] = {"subtype": "DIR_PATH", **_RELATIVE}
_PROPERTY_OF = {bool: BoolProperty, int: IntProperty, float: FloatProperty, str: StringProperty}


def setting_names() -> list[tuple[str, str]]:
    """Return (stage, setting) of every setting of a solve."""
    settings = SolveSettings()
    return [
        (stage.name, setting.name)
        for stage in dataclasses.fields(settings)
        for setting in dataclasses.fields(getattr(settings, stage.name))
    ]


def _setting_property(stage: str, name: str) -> Any:
    default = getattr(getattr(SolveSettings(), stage), name)
    said = {"name": name.replace("_", " ").capitalize(), "description": SETTING_WORDS[stage][name], "default": default}
    if name in CHOICES:
        words = CHOICE_WORDS.get(name, {})
        items = [(choice, choice.capitalize(), words.get(choice, "")) for choice in CHOICES[name]]
        return EnumProperty(items=items, **said)
    options = {"precision": 4} if type(default) is float else {}
    return _PROPERTY_OF[type(default)](**said, **options)


class SIGHTLINE_PG_settings(bpy.types.PropertyGroup):
    """One property for every setting of `inference.config`, named stage__setting."""

    __annotations__ = {f"{stage}__{name}": _setting_property(stage, name) for stage, name in setting_names()}


def read_settings(group: SIGHTLINE_PG_settings) -> SolveSettings:
    """Return the settings that the properties say; Blender's single precision is rounded away."""
    stages: dict[str, dict[str, Any]] = {}
    for stage, name in setting_names():
        value = getattr(group, f"{stage}__{name}")
        stages.setdefault(stage, {})[name] = float(f"{value:.6g}") if isinstance(value, float) else value
    defaults = SolveSettings()
    changed = {stage: dataclasses.replace(getattr(defaults, stage), **values) for stage, values in stages.items()}
    return SolveSettings(**changed)


def write_settings(group: SIGHTLINE_PG_settings, settings: SolveSettings) -> None:
    """Enter settings into the properties."""
    for stage, name in setting_names():
        setattr(group, f"{stage}__{name}", getattr(getattr(settings, stage), name))


def settings_as_text(settings: SolveSettings) -> dict[str, str]:
    """Return every setting as ``stage.name`` and its value written as in TOML."""
    values = {f"{stage}.{name}": getattr(getattr(settings, stage), name) for stage, name in setting_names()}
    return {key: json.dumps(value) if isinstance(value, bool | str) else repr(value) for key, value in values.items()}


class SIGHTLINE_PG_view(bpy.types.PropertyGroup):
    """One video of the take; the group's own name is the view's, the camera's in the calibration."""

    name: StringProperty(name="Name", description="The camera's name in the calibration; the order does not matter")
    video: StringProperty(name="Video", description="The video, or one picture of a sequence", **_FILE)
    fit: EnumProperty(
        name="Fit",
        description="How the video's size relates to the calibrated one",
        items=[
            ("exact", "Exact", "The video has the calibrated size"),
            ("scale", "Scaled", "The whole picture in another size"),
            ("crop", "Cropped", "The centre of the picture, unscaled"),
            ("letterbox", "Letterboxed", "The whole picture scaled, with bars on two sides"),
        ],
    )
    offset_mode: EnumProperty(
        name="Start",
        description="When the video begins",
        items=[
            ("GIVEN", "Known", "The video begins at the offset below; 0 where all cameras started together"),
            ("AUTO", "From the motion", "The offset is found from how the person moves in this and the other videos"),
        ],
    )
    offset_s: FloatProperty(
        name="Offset", unit="TIME_ABSOLUTE", precision=4, description="When the first frame happens, in seconds"
    )
    fps: FloatProperty(
        name="Frame Rate", min=0, precision=3, description="Frames per second; 0: what the video says itself"
    )
    # What was found when the video was added:
    width: IntProperty()
    height: IntProperty()
    frames: IntProperty()
    found_fps: FloatProperty()
    problem: StringProperty(description="Why the video cannot be used")
    calibrated: IntVectorProperty(size=2, description="Size that its camera was calibrated at; 0: not known")


def seconds_of(view: SIGHTLINE_PG_view) -> float:
    """Return the length of a view's video."""
    return view.frames / (view.fps or view.found_fps) if view.frames else 0.0


def facts_of(view: SIGHTLINE_PG_view) -> str:
    """Return size, rate and length of a view's video in words."""
    rate = view.fps or view.found_fps
    return f"{view.width}×{view.height}, {rate:.5g} fps, {seconds_of(view):.1f} s" if view.frames else ""


class SIGHTLINE_PG_board(bpy.types.PropertyGroup):
    """The calibration board that the videos show."""

    kind: EnumProperty(
        name="Kind",
        items=[
            ("charuco", "ChArUco", "A chessboard with markers in its white squares"),
            ("chessboard", "Chessboard", "Plain squares"),
        ],
    )
    columns: IntProperty(name="Columns", default=7, min=2, description="Squares along the longer side")
    rows: IntProperty(name="Rows", default=5, min=2, description="Squares along the shorter side")
    square_m: FloatProperty(
        name="Square (m)", default=0.04, min=0.001, precision=4, description="Side of one square, measured"
    )
    marker_m: FloatProperty(
        name="Marker (m)", default=0.03, min=0.001, precision=4, description="Side of one marker, measured"
    )
    dictionary: StringProperty(name="Dictionary", default="DICT_4X4_50", description="OpenCV's name of the markers")
    inverted: BoolProperty(name="Inverted", description="White on black")
    legacy: BoolProperty(name="Legacy", description="Made by OpenCV before 4.6: the first square is white")
    pictures: StringProperty(
        name="Board In",
        description="Where the board is seen, if not in the videos above: board/{view}.mp4 or board/{view}/%03d.png, "
        "beside the take or as a whole path; {view} stands for the camera's name",
    )
    lens_pictures: StringProperty(
        name="Lenses In", description="The same for pictures that the lenses are solved from, if others are"
    )


class SIGHTLINE_PG_joint(bpy.types.PropertyGroup):
    """One joint that can be chosen; the group's own name is the joint's."""


class SIGHTLINE_PG_correction(bpy.types.PropertyGroup):
    """One correction of the keypoints, as in `inference.corrections`."""

    take: StringProperty(description="The take file that it belongs to")
    kind: StringProperty()
    person: IntProperty(default=1)
    view: StringProperty()
    joint: StringProperty()
    numbers: StringProperty(description="start_s, end_s, sigma_m and place as JSON: in full precision")
    enabled: BoolProperty(default=True)


class SIGHTLINE_PG_doubt(bpy.types.PropertyGroup):
    """One span that should not be trusted; the group's own name is its joints'."""

    reason: StringProperty()
    first: IntProperty(description="Scene frame")
    last: IntProperty(description="Scene frame, inclusive")


class SIGHTLINE_PG_overlay(bpy.types.PropertyGroup):
    """What is drawn of the uncertainty, and where the look for the worst frame is."""

    bones: BoolProperty(name="Colour Bones", description="Colour the bones by how sure their joints are, in this frame")
    ellipsoids: BoolProperty(name="Fill Ellipsoids", description="Fill the ellipsoids with the colour of their size")
    band: BoolProperty(
        name="Band in Timeline", default=True, description="How sure every frame is, below the timeline's keys"
    )
    band_of: EnumProperty(
        name="Band Of",
        items=[
            ("WORST", "Worst Joint", "The least sure joint of every frame"),
            ("MEDIAN", "Median", "The joint in the middle"),
        ],
    )
    legend: BoolProperty(name="Legend", default=True, description="What the colours mean, in the 3D view's corner")
    plates: BoolProperty(
        name="Overlay on Footage", default=True, description="The overlays that are switched on for single cameras"
    )
    skeleton: BoolProperty(name="Skeleton", default=True, description="The solved skeleton, through the lens")
    keypoints: BoolProperty(name="Keypoints", default=True, description="The 2D keypoints that were found")
    ghosts: BoolProperty(
        name="Ghosts",
        default=True,
        description="Sampled poses where too few views see the person, fainter the less likely",
    )
    hypothesis: IntProperty(
        name="Pose",
        default=1,
        min=1,
        max=MOST_SHOWN,
        description="Which of the sampled poses is drawn in orange; 1 is the likeliest",
    )
    share: EnumProperty(items=[(share, f"{share} %", "") for share in ("50", "90", "95")], default="90")
    doubts: CollectionProperty(type=SIGHTLINE_PG_doubt)
    never: StringProperty(description="Which joints are sure in no frame, a line for every person")
    some_sure: BoolProperty(default=True, description="Whether there are others")
    doubt_index: IntProperty()
    visited: StringProperty(description="Frames of the take, as a JSON list")
    told: StringProperty()


class SIGHTLINE_PG_gap(bpy.types.PropertyGroup):
    """One line of the list of gaps; the group's own name is the joint's."""

    person: IntProperty()
    kind: StringProperty()
    reason: StringProperty()
    first: IntProperty()
    last: IntProperty()
    worst: IntProperty()
    sigma_cm: FloatProperty()


class SIGHTLINE_PG_scene(bpy.types.PropertyGroup):
    """What a scene knows of its takes."""

    views: CollectionProperty(type=SIGHTLINE_PG_view)
    view_index: IntProperty()
    project: StringProperty(description="Tells this scene's take files from those of another one in the same folder")
    take_name: StringProperty(name="Take Name", default="take", description="Names the results")
    persons: IntProperty(
        name="People",
        default=1,
        min=0,
        max=20,
        description="How many people are solved; 0: everyone whom two views see",
    )
    height_m: FloatProperty(
        name="Height (m)",
        min=0,
        max=3,
        description="The person's height; gives the scale where the cameras are solved from the person. 0: not known",
    )
    detector: StringProperty(
        name="Detector", default="blazepose", description="The model that finds people and their keypoints"
    )
    preview_s: FloatProperty(
        name="Preview Length", default=2.0, min=0.1, unit="TIME_ABSOLUTE", description="How much Preview solves"
    )
    start_s: FloatProperty(
        name="From", min=0, unit="TIME_ABSOLUTE", precision=3, description="Where the take begins in the footage"
    )
    end_s: FloatProperty(
        name="To", min=0, unit="TIME_ABSOLUTE", precision=3, description="Where it ends in the footage; 0: at its end"
    )
    take_fps: FloatProperty(
        name="Solved Rate",
        min=0,
        max=1000,
        precision=3,
        description="Frames per second of the motion; 0: the highest rate of the videos",
    )
    cameras_from: EnumProperty(
        name="Cameras From",
        items=[
            ("FILE", "File", "A calibration of any common format"),
            ("SCENE", "Scene", "Cameras of this scene, still or moving, or solved movie clips, with the views' names"),
            ("BOARD", "Board", "A chessboard or ChArUco board that the videos show"),
            ("PERSON", "Person", "From nothing but the person who moves; the lenses must be known"),
        ],
    )
    calibration_path: StringProperty(name="Calibration", description="The calibration file, or the folder of its files")
    lenses_path: StringProperty(
        name="Lenses",
        **_FILE,
        description="A calibration whose lenses are used; where its cameras stood does not matter",
    )
    refine_cameras: BoolProperty(
        name="Refine on the Person",
        description="Move the cameras to where the person says that they stand, within what is said below. For "
        "cameras that were touched since they were calibrated",
    )
    rotation_sigma_deg: FloatProperty(
        name="Rotation Within (°)",
        min=0,
        max=180,
        precision=3,
        description="How far the cameras may be turned from what the calibration says, in degrees (one standard "
        "deviation). 0: not known, the solve finds it",
    )
    centre_sigma_m: FloatProperty(
        name="Place Within (m)",
        min=0,
        max=1000,
        precision=4,
        description="How far the cameras may stand from where the calibration says (one standard deviation). 0: not "
        "known, the solve finds it",
    )
    floor: EnumProperty(
        name="Floor",
        description="Where the floor is in the cameras' world",
        items=[
            ("keep", "Not Said", "The calibration's world is kept as it is"),
            ("auto", "Put at 0", "The world is moved so that the feet stand on the grid, at a height of 0"),
            ("zero", "Is at 0", "The height 0 of the calibration is the floor; with one camera that gives the scale"),
        ],
    )
    units: EnumProperty(
        name="Lengths In",
        description="What the lengths in the calibration are",
        items=[
            ("AUTO", "As It Says", "What the file, or its format, says"),
            ("m", "Metres", ""),
            ("cm", "Centimetres", ""),
            ("mm", "Millimetres", ""),
        ],
    )
    focal_sigma: FloatProperty(
        name="Focal Lengths Within",
        min=0,
        max=0.3,
        precision=3,
        description="Share by which the focal lengths in the lens file may be off, 0.1 for ten percent: they are "
        "solved too. 0: they are exact",
    )
    distance_m: FloatProperty(
        name="Distance (m)",
        min=0,
        max=1000,
        precision=3,
        description="Between the two cameras below, as measured: gives the scale. 0: not measured",
    )
    distance_from: StringProperty(name="From", description="The camera at one end of the measured distance")
    distance_to: StringProperty(name="To", description="The camera at its other end")
    calibration_note: StringProperty(description="What the calibration was recognised as")
    scene_cameras_note: StringProperty(description="What was found of the scene's cameras in the last solve")
    calibration_problem: StringProperty(description="Why the calibration cannot be used")
    board: PointerProperty(type=SIGHTLINE_PG_board)
    take_path: StringProperty(name="Take File", description="A take.toml to solve instead of videos", **_FILE)
    output_path: StringProperty(name="Output", description="Folder of the results; empty: beside the take", **_FOLDER)
    formats: EnumProperty(
        name="Formats",
        options={"ENUM_FLAG"},
        default={"fbx"},
        items=[(name, label_of(name), about(name)) for name in NAMES],
    )
    rig: EnumProperty(
        name="Naming",
        description="What the bones are called, for the next tool",
        items=[
            ("AS_SOLVED", "As Solved", "Our armature with a bone for every pair of joints, T pose"),
            *((target.key, target.label, f"Bones named as those of {target.label}") for target in rig_files()),
        ],
    )
    rest_pose: EnumProperty(
        name="Rest Pose",
        description="How the armature stands at rest; no frame of the take has a part in it",
        items=[
            ("USUAL", "Usual", "The rest pose that characters of this naming usually have"),
            ("T", "T Pose", "Arms level"),
            ("A", "A Pose", "Arms 45 degrees down"),
        ],
    )
    rig_root: EnumProperty(
        name="Path",
        description="What carries the person over the ground",
        items=[
            ("hips", "Hips", "The hips move through the scene"),
            ("root", "Root Bone", "A bone on the ground moves, the hips only up and down: root motion of engines"),
            ("in_place", "In Place", "Nothing: the person stays where the armature stands"),
        ],
    )
    export_person: IntProperty(name="Person", min=0, max=20, description="Which person; 0: everyone")
    export_range: EnumProperty(
        name="Frames",
        items=[
            ("TAKE", "Whole Take", "From the first to the last frame of the take"),
            ("TIMELINE", "Timeline", "The timeline's range, or its preview range where one is set"),
        ],
    )
    export_all_takes: BoolProperty(name="All Takes", description="Every take in this scene, each beside its solution")
    export_ellipsoids: BoolProperty(name="With Ellipsoids", description="Also the ellipsoids, in FBX, USD and glTF")
    use_settings: BoolProperty(
        name="Override Settings", description="Use the settings below instead of those in the take"
    )
    settings: PointerProperty(type=SIGHTLINE_PG_settings)
    # What the last solve left:
    take: StringProperty()
    solution_path: StringProperty(**_FILE)
    report_path: StringProperty(**_FILE)
    entered: StringProperty(description="State of the solution's file when it was entered")
    summary: StringProperty(description="Lines of text")
    warnings: StringProperty(description="What the solve warned of, one a line")
    replace_cleaned: BoolProperty(
        name="Replace My Changes",
        description="The tools may write over a cleaned layer that you changed: your changes are lost",
    )
    solved_take_path: StringProperty(description="The take file of the last solve", **_FILE)
    overlay: PointerProperty(type=SIGHTLINE_PG_overlay)
    gaps: CollectionProperty(type=SIGHTLINE_PG_gap)
    gap_index: IntProperty()
    looked_through: PointerProperty(type=bpy.types.Object)
    # Corrections:
    corrections: CollectionProperty(type=SIGHTLINE_PG_correction)
    correction_index: IntProperty()
    corrections_read: StringProperty(description="Take files whose corrections stand in the list, one a line")
    fix_joints: CollectionProperty(type=SIGHTLINE_PG_joint)
    fix_joint: StringProperty(
        name="Joint", description="The joint to mark, place or pin; a click on a keypoint chooses it"
    )
    fix_person: IntProperty(name="Person", default=1, min=1, description="Whose keypoints; 1 is the first person")
    fix_range: EnumProperty(
        name="Frames",
        items=[
            ("FRAME", "This Frame", "The current frame alone"),
            ("RANGE", "Range", "From one frame to another, both included"),
        ],
    )
    fix_from: IntProperty(name="From", default=1, description="First frame of the range")
    fix_to: IntProperty(name="To", default=1, description="Last frame of the range")


class SIGHTLINE_PG_status(bpy.types.PropertyGroup):
    """How far the running solve is; on the window manager, so that no file keeps it."""

    running: BoolProperty()
    share: FloatProperty(min=0, max=1)
    text: StringProperty()
    again_problem: StringProperty(description="Why the last Solve Again did not work")
    # Of the errand that runs beside it (see errands.py):
    errand: StringProperty(description="What is being done; empty: nothing")
    errand_share: FloatProperty(min=0, max=1)
    errand_result: StringProperty(description="What came of the last one")
    errand_failed: BoolProperty()
    opened_model: StringProperty(description="The model that the preferences show in full")


CLASSES = (
    SIGHTLINE_PG_settings,
    SIGHTLINE_PG_view,
    SIGHTLINE_PG_board,
    SIGHTLINE_PG_joint,
    SIGHTLINE_PG_correction,
    SIGHTLINE_PG_doubt,
    SIGHTLINE_PG_overlay,
    SIGHTLINE_PG_gap,
    SIGHTLINE_PG_scene,
    SIGHTLINE_PG_status,
)

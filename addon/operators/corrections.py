"""Say what is wrong in the keypoints, and where a joint really is; then solve again."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty, StringProperty

from ...inference.corrections import DROP, LIMBS, MOVE, PIN, SWAP, WRONG, Correction
from ...inference.errors import InputError
from ..host.parts import part_of
from ..on_solved import OnSolved
from ..scene_corrections import (
    add_correction,
    change_corrections,
    index_at,
    kept_keypoints,
    label,
    load_corrections,
    pinned_place,
    time_range,
)
from ..solving import expect_again
from .guarded import guarded, redraw_panels


def view_of_scene(scene: bpy.types.Scene) -> str:
    """Return the view whose camera the scene looks through.

    Raises:
        InputError: it is no camera of the take.
    """
    part = part_of(scene.camera) if scene.camera is not None else None
    if part is None or part.kind != "camera" or part.take != scene.sightline.take or part.view is None:
        raise InputError("look through one of the take's cameras first: press one in the panel Views")
    return part.view


def chosen_joint(scene: bpy.types.Scene) -> str:
    """Return the joint that is chosen in the panel.

    Raises:
        InputError: none is.
    """
    if not scene.sightline.fix_joint:
        raise InputError("choose a joint in the panel Fix first, or click on its keypoint while dragging")
    return scene.sightline.fix_joint


class _Correcting:
    """What the operators that add a correction share: one that does not fit is refused in one line."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.sightline.solution_path:
            cls.poll_message_set("Solve the take first")  # type: ignore[attr-defined]
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        def work() -> set[str]:
            correction = self.correction(context.scene)
            add_correction(context.scene, correction)
            expect_again(context)
            self.report({"INFO"}, f"Noted for Solve Again: {label(context.scene, correction)}")  # type: ignore[attr-defined]
            redraw_panels(context)
            return {"FINISHED"}

        return guarded(self, work)  # type: ignore[arg-type]

    def correction(self, scene: bpy.types.Scene) -> Correction:
        raise NotImplementedError


class SIGHTLINE_OT_move_keypoint(_Correcting, bpy.types.Operator):
    """Say where a keypoint of a view is at the current frame, in pixels of its video"""  # noqa: D415

    bl_idname = "sightline.move_keypoint"
    bl_label = "Move Keypoint"

    view: StringProperty(options={"SKIP_SAVE"}, description="Empty: the one that the scene looks through")
    joint: StringProperty(options={"SKIP_SAVE"}, description="Empty: the one that is chosen in the panel")
    person: IntProperty(options={"SKIP_SAVE"}, description="0: the one that is chosen in the panel")
    place: FloatVectorProperty(name="Place", size=2, precision=2, description="x, y in pixels; (0, 0) is the first")

    def correction(self, scene: bpy.types.Scene) -> Correction:
        times = kept_keypoints(scene).views[0].timestamps_s
        time = float(times[index_at(scene, scene.frame_current, times)])
        joint, view = self.joint or chosen_joint(scene), self.view or view_of_scene(scene)
        person = self.person or scene.sightline.fix_person
        place = tuple(round(float(value), 2) for value in self.place)
        return Correction(MOVE, person, time, time, view, joint, place)


class SIGHTLINE_OT_mark_wrong(_Correcting, bpy.types.Operator):
    """Say that the keypoints of the chosen joint are wrong in this view: the solve does without them"""  # noqa: D415

    bl_idname = "sightline.mark_wrong"
    bl_label = "Mark Wrong"

    all_joints: BoolProperty(name="All Joints", options={"SKIP_SAVE"}, description="Every joint of the person")

    def correction(self, scene: bpy.types.Scene) -> Correction:
        joint = None if self.all_joints else chosen_joint(scene)
        return Correction(WRONG, scene.sightline.fix_person, *time_range(scene), view_of_scene(scene), joint)


class SIGHTLINE_OT_swap_sides(_Correcting, bpy.types.Operator):
    """Exchange left and right in this view, where the detector took one for the other"""  # noqa: D415

    bl_idname = "sightline.swap_sides"
    bl_label = "Swap Left and Right"

    limb: EnumProperty(
        items=[(name, name.capitalize(), f"Left and right of the {name} are exchanged") for name in LIMBS],
        default="body",
    )

    def correction(self, scene: bpy.types.Scene) -> Correction:
        return Correction(SWAP, scene.sightline.fix_person, *time_range(scene), view_of_scene(scene), self.limb)


class SIGHTLINE_OT_drop_view(_Correcting, bpy.types.Operator):
    """Solve this person without this camera, in the chosen frames"""  # noqa: D415

    bl_idname = "sightline.drop_view"
    bl_label = "Drop Camera"

    def correction(self, scene: bpy.types.Scene) -> Correction:
        return Correction(DROP, scene.sightline.fix_person, *time_range(scene), view_of_scene(scene))


class SIGHTLINE_OT_pin_joint(_Correcting, bpy.types.Operator):
    """Say where a joint is in space at the current frame"""  # noqa: D415

    bl_idname = "sightline.pin_joint"
    bl_label = "Pin Joint"

    at: EnumProperty(
        name="At",
        items=[
            ("CURSOR", "3D Cursor", "The chosen joint is at the 3D cursor"),
            ("OBJECT", "Moved Ellipsoid", "The joint of the active ellipsoid is where you have moved it"),
        ],
    )

    def correction(self, scene: bpy.types.Scene) -> Correction:
        times = kept_keypoints(scene).views[0].timestamps_s
        time = float(times[index_at(scene, scene.frame_current, times)])
        if self.at == "CURSOR":
            joint, person, place = chosen_joint(scene), scene.sightline.fix_person, scene.cursor.location
        else:
            item = bpy.context.view_layer.objects.active
            part = part_of(item) if item is not None else None
            if part is None or part.joint is None or part.person is None or part.take != scene.sightline.take:
                raise InputError("select an ellipsoid of the take, move it to where the joint is, then pin it")
            joint, person, place = part.joint, part.person + 1, item.matrix_world.translation
        return Correction(PIN, person, time, time, None, joint, pinned_place(scene, place))


class SIGHTLINE_OT_set_fix_range(bpy.types.Operator):
    """Let the range begin or end at the current frame"""  # noqa: D415

    bl_idname = "sightline.set_fix_range"
    bl_label = "Set Range"
    bl_options = {"UNDO"}

    end: BoolProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        known, frame = context.scene.sightline, context.scene.frame_current
        known.fix_range = "RANGE"
        if self.end:
            known.fix_from, known.fix_to = min(known.fix_from, frame), frame
        else:
            known.fix_from, known.fix_to = frame, max(known.fix_to, frame)
        return {"FINISHED"}


class SIGHTLINE_OT_change_corrections(OnSolved, bpy.types.Operator):
    """Change the list of corrections and the take's file"""  # noqa: D415

    bl_idname = "sightline.change_corrections"
    bl_label = "Change Corrections"
    bl_options = {"UNDO"}

    what: EnumProperty(
        items=[
            ("REMOVE", "Remove", "Remove the chosen correction"),
            ("TOGGLE", "Enable or Disable", "Use this correction, or keep it without using it"),
            ("CLEAR", "Clear", "Remove all corrections of the take"),
            ("RELOAD", "Reload", "Read the take's corrections file again; disabled corrections stay"),
        ],
        options={"SKIP_SAVE"},
    )
    index: IntProperty(default=-1, options={"SKIP_SAVE"}, description="-1: the one chosen in the list")

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return properties.bl_rna.properties["what"].enum_items[properties.what].description

    def execute(self, context: bpy.types.Context) -> set[str]:
        def work() -> set[str]:
            scene = context.scene
            index = scene.sightline.correction_index if self.index < 0 else self.index
            if self.what == "RELOAD":
                load_corrections(scene, anew=True)
            elif self.what == "TOGGLE":
                change_corrections(scene, index, not scene.sightline.corrections[index].enabled)
            else:
                change_corrections(scene, None if self.what == "CLEAR" else index)
            redraw_panels(context)
            return {"FINISHED"}

        return guarded(self, work)


CLASSES = (
    SIGHTLINE_OT_move_keypoint,
    SIGHTLINE_OT_mark_wrong,
    SIGHTLINE_OT_swap_sides,
    SIGHTLINE_OT_drop_view,
    SIGHTLINE_OT_pin_joint,
    SIGHTLINE_OT_set_fix_range,
    SIGHTLINE_OT_change_corrections,
)

"""What is done with a result: views, layers to see."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..host.parts import VIEW, find_group, pointed_parts
from ..overlays.plate import SWITCH
from ..trusting import LIGHT, LIGHT_WHY
from .tab import Tab, say
from .uncertainty import light_icon


class SIGHTLINE_PT_views(Tab, bpy.types.Panel):
    """The views of the take, and what is shown of it."""

    bl_label = "Views"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 7

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.take)

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        for camera in pointed_parts(context, "camera", chosen.take):
            row = layout.row(align=True)
            active = context.scene.camera == camera
            row.label(text="", icon=light_icon(camera))
            button = row.operator("sightline.look_through", text=camera[VIEW], icon="VIEW_CAMERA", depress=active)
            button.view = camera[VIEW]
            over = row.operator(
                "sightline.toggle_plate", text="", icon="OVERLAY", depress=bool(camera.get(SWITCH, False))
            )
            over.view = camera[VIEW]
            plate = next((b for b in camera.data.background_images if b.source == "MOVIE_CLIP" and b.clip), None)
            if plate is not None:
                row.prop(plate.clip_user, "use_render_undistorted", text="", icon="MOD_LATTICE")
            if camera.get(LIGHT) in ("amber", "red", "grey") or active:
                say(layout, camera.get(LIGHT_WHY, ""), "BLANK1")
        row = layout.row(align=True)
        row.label(text="", icon="OVERLAY")
        row.prop(chosen.overlay, "skeleton", toggle=True)
        row.prop(chosen.overlay, "keypoints", toggle=True)
        row = layout.row(align=True)
        for group, text in (("uncertainty", "Ellipsoids"), ("raw", "Raw Joints")):
            collection = find_group(context.scene, chosen.take, group)
            if collection is not None:
                row.prop(collection, "hide_viewport", text=text, invert_checkbox=True)


CLASSES = (SIGHTLINE_PT_views,)

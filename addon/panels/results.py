"""What is done with a result: views, layers to see."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..host.parts import VIEW, find_group, parts_in
from .tab import Tab


class SIGHTLINE_PT_views(Tab, bpy.types.Panel):
    """The views of the take, and what is shown of it."""

    bl_label = "Views"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 11

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.take)

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        for camera in parts_in(context.scene, "camera", chosen.take):
            row = layout.row()
            active = context.scene.camera == camera
            button = row.operator("sightline.look_through", text=camera[VIEW], icon="VIEW_CAMERA", depress=active)
            button.view = camera[VIEW]
        for group, text in (("uncertainty", "Uncertainty"), ("raw", "Raw Joints")):
            collection = find_group(context.scene, chosen.take, group)
            if collection is not None:
                layout.prop(collection, "hide_viewport", text=text, invert_checkbox=True)


CLASSES = (SIGHTLINE_PT_views,)

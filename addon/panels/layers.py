"""Raw, solved and cleaned motion, and few keys to edit."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..host.layers import LAYERS, shown_layer
from ..host.parts import pointed_parts
from ..on_solved import OnSolved
from .tab import Tab


class SIGHTLINE_PT_layers(OnSolved, Tab, bpy.types.Panel):
    """Which motion the armatures show."""

    bl_label = "Layers"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 10

    def draw(self, context: bpy.types.Context) -> None:
        armatures = pointed_parts(context, "armature", context.scene.sightline.take)
        shown = {shown_layer(item) for item in armatures}
        row = self.layout.row(align=True)
        for layer in LAYERS:
            pressed = shown == {layer}
            row.operator("sightline.show_layer", text=layer.capitalize(), depress=pressed).layer = layer
        self.layout.operator("sightline.reduce_keys", icon="IPO_BEZIER")
        self.layout.prop(context.scene.sightline, "replace_cleaned")


CLASSES = (SIGHTLINE_PT_layers,)

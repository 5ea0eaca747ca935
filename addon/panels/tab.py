"""Where our panels stand."""


class Tab:
    """The sidebar tab Sightline of the 3D view."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sightline"

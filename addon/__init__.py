"""Everything that knows Blender: properties, panels, operators, the background job, the scene."""

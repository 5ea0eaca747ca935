"""Everything that reads or writes Blender's scene, one kind of data per file."""

"""What is drawn over Blender's editors: how sure every joint is, and how the solve fits the footage."""

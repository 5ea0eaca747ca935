"""Networks of plain 3×3 convolutions, which are fast on every processor and survive int8."""

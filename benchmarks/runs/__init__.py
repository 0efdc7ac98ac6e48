"""One run in its folder: a cell, any model, an import, a re-grade; and the grid of cells."""

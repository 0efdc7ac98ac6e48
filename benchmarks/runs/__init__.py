"""What one run does in its folder (a cell, any model, an import, a re-grade), and the grid of cells."""

"""Sweeps: an algorithm is trained with many settings at equal budget, and the best of them is chosen honestly."""

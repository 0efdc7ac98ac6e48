"""The embedded base models, with recipe, weights and model card."""

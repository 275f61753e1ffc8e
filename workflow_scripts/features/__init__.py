"""The perturbation-feature file: read without running code, checked, made canonical."""

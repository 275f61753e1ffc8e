"""YAML files, run files and overrides become settings: composed, checked, sliced and frozen."""

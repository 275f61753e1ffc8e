"""The official scorer, run for every prediction in the same way."""

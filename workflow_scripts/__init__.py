"""Stateline: one small script a rule, over the parts that do the work."""

__version__ = "0.1.0"

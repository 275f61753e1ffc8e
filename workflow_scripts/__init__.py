"""Stateline: one small script a rule, over the parts that do the work."""

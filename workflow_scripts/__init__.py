"""Stateline: one small script a rule, over the parts that do the work."""

from pathlib import Path

_WRITTEN = Path(__file__).with_name("version.txt")
"""What an installation writes, by the newest tag; not there in a checkout that is run as it is."""

__version__ = _WRITTEN.read_text(encoding="utf-8").strip() if _WRITTEN.exists() else "0.1.0.dev0"

"""Numbers become figures and one self-contained HTML page."""

"""The page's HTML (one file a section), its style and its script."""

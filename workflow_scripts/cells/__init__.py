"""h5ad files become annotated groups, splits, a packed store and cell sets."""

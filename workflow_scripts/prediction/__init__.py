"""A model and control cells become predicted cells."""

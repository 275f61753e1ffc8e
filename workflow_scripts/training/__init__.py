"""Lightning module, trainer, checkpoints and resume."""

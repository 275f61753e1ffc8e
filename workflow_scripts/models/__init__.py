"""The state-transition model, the baselines and the set losses: tensors in, tensors out."""

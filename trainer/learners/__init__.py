"""Everything that learns: the head, the fine-tuner, and self-supervised training."""

"""The trainer: embeds images, learns from labels, and ranks what to ask next."""

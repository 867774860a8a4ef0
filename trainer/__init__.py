"""Owns the model: embeddings, learners, query strategies, evaluation, versions. Knows nothing of the labeler's code."""

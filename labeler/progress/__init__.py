"""The state of the project: evaluations, labels over time, and the goal."""

"""How far the project is: evaluations, labels over time, and the goal."""

"""What an answer is, one module per task.

Nothing outside this room and `trainer/tasks` depends on the kind of label.
"""

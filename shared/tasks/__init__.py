"""The tasks (kinds of label): what an answer is, one module per task.

Outside this room and `trainer/tasks`, no code depends on the kind of label.
"""

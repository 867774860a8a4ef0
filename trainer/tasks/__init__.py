"""Tasks: how labels become targets, uncertainty, suggestions and metrics. One module per task."""

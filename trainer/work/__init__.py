"""The inputs of a job in its process. Apart from `trainer.jobs`, so that rooms of jobs can share them."""

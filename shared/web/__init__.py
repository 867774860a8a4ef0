"""What both services share about HTTP: who may ask, how much, and how errors are answered."""

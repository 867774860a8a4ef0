"""How good a model is, with how sure that is. Arrays in, numbers out."""

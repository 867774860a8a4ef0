"""The detector that learns boxes while a person draws them."""

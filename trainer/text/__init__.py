"""Class names as a first guess, by a network that was trained on images and their captions."""

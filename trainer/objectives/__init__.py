"""Training objectives of a whole network, for one class per image or several: loss, score, initial classifier."""

"""What a whole network is trained for: one class per image, or several. Loss, score, and the initial classifier."""

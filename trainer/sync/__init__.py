"""Exchange with the labeler: its log and catalogue come in, ranked lists and evaluations go out."""

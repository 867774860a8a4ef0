"""Label review: doubtful labels, estimates of label errors, and near duplicates."""

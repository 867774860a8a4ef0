"""Labels in and out: imports, label files, exports, snapshots."""

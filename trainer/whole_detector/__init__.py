"""Detectors of which every layer is trained, not only the head. Knows neither services nor versions."""

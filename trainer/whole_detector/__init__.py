"""Detectors that are trained as a whole, the network under the head included. Knows neither services nor versions."""

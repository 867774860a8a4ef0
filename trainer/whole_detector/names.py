"""The names of torchvision's detectors. Imports no torch: a wrong name is refused before a job begins."""

TORCHVISION = ("fcos_resnet50_fpn", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2")
"""Detectors of torchvision that can be trained. Its code and weights are under the BSD licence. Its two-stage detectors
are missing, because they return a list of boxes instead of one box at each point."""
LICENCE = "BSD-3-Clause"
"""The licence of torchvision's weights."""

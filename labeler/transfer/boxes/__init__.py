"""Boxes in and out, one module per format. Each reads rows with boxes, and writes the boxes of an export.

`opening` finds the module for a file or folder; `FORMATS` has the writers, by the names of the formats for classes.
"""

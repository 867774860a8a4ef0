"""Import and export of boxes, one module per format. Each reads rows with boxes, and writes the boxes of an export.

`opening` finds the module for a file or folder. `FORMATS` maps the format names, which classes use too, to writers.
"""

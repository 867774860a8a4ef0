"""What the files of a format are, whether they hold classes or boxes: how they are read piece by piece, and written.

`formats` and `boxes` say what an image has in them.
"""

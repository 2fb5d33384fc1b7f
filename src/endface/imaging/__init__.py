"""Pure functions on arrays: ellipses, backgrounds, line and region evidence, skeletons, texture, focus.

Nothing here reads a file, knows a setting or keeps state. Image coordinates are (row, col) in
arrays and (x, y) in points, with the centre of the top-left pixel at (0, 0).
"""

"""Training sets and exports: one module per format, each with write() and, where it makes sense, read().

Masks are the master copy of every annotation. Each module has a `LOSS`: what of a run its format cannot hold.
"""

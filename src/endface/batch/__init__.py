"""What all images of a run tell together: dirt on the optics, the pixel pitch of a scope, faces seen twice.

`learn` reads finished images from the run folder and gives back their records as they are to be judged. What
one image alone told stays in the journal, so that other settings or more images can undo all of it.
"""

from endface.batch.knowledge import Knowledge, learn

__all__ = ["Knowledge", "learn"]

"""How small a pit is found at 0.35 um per px: a90, the diameter found with a probability of 0.9, by contrast.

    python benchmarks/pits.py [-n FACES] [--seed SEED] [--pitch UM_PER_PX]

Each face is rendered by the preset `clinic` with the given pitch and a dozen pits of 0.4 to 6 um, strewn over
the picture and apart from each other. A pit that takes a given share of the light has a signal-to-noise ratio
that follows from its size, the microscope and the noise. It is found when 30 % of it is covered.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

import numpy as np

from endface.annotation import instance_map
from endface.detection import detect_defects
from endface.evaluation.pod import fit_pod
from endface.synthesis import PRESETS, render_endface
from endface.synthesis.defects import pit
from endface.synthesis.draws import PlannedDefect, draw_frame, draw_instrument, draw_look
from endface.zones import segment_zones

CONTRASTS = (0.1, 0.2, 0.4)
PITS = 12
APART_UM = 20.0
SURE = 1e9  # asks for more than any contrast gives, so that the contrast decides


def places(frame, rng):
    """Return up to `PITS` points (um from the fibre's centre) in the picture, apart from each other."""
    found = []
    for _ in range(40 * PITS):
        x, y = rng.uniform(20, frame.width_px - 20), rng.uniform(20, frame.height_px - 20)
        point = frame.to_um(x, y)
        if all(math.dist(point, other) > APART_UM for other in found):
            found.append(point)
        if len(found) == PITS:
            break
    return found


def tries(contrast, *, seed, number, pitch):
    """Return diameter and whether it was found for each pit of one face."""
    rng = np.random.default_rng([seed, number])
    ranges = replace(PRESETS["clinic"], um_per_px=(pitch, pitch), textured=0.0)
    instrument = draw_instrument(ranges, rng=rng, name="scope")
    look = draw_look(ranges, rng=rng, um_per_px=pitch)
    frame = draw_frame(ranges, instrument, look, rng=rng)
    sizes = np.exp(rng.uniform(math.log(0.4), math.log(6.0), PITS))
    drawn = [
        PlannedDefect(pit(rng, frame, x_um=x, y_um=y, diameter_um=float(size)), SURE, contrast, -1)
        for (x, y), size in zip(places(frame, rng), sizes, strict=False)
    ]
    face = render_endface(
        rng=rng, preset=ranges, clean=False, instrument=instrument, look=look, frame=frame, defects=drawn
    )
    finds = instance_map(detect_defects(face.image, segment_zones(face.image)), face.image.shape) > 0
    result = []
    for defect in face.truth.defects:
        body = face.truth.instances == defect.instance
        result.append((defect.diameter_um, bool(body.any() and finds[body].mean() >= 0.3)))
    return result


def main():
    """Render, detect, fit and print one line per contrast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=40, help="faces per contrast")
    parser.add_argument("--seed", type=int, default=35)
    parser.add_argument("--pitch", type=float, default=0.35, help="um per px")
    given = parser.parse_args()
    for contrast in CONTRASTS:
        runs = range(given.n)
        rows = [row for k in runs for row in tries(contrast, seed=given.seed, number=k, pitch=given.pitch)]
        pod = fit_pod(*zip(*rows, strict=True))
        a90, bound = (f"{v:.2f} um" if v else "unknown" for v in (pod.a90, pod.a90_95))
        print(f"contrast {contrast:.0%}: {pod.hits} of {pod.n} found, a90 {a90}, a90/95 {bound} {pod.reason}")


if __name__ == "__main__":
    main()

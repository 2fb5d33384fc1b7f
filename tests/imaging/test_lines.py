"""Line evidence: the same as direct convolution, mirror laws, no answer to edges, every direction alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.lines import line_evidence
from endface.imaging.linesums import LENGTHS_PX, LineSteps, orientations, pair_sums, score_lines


def noise(shape=(90, 110), seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def all_sums(image, *, steep, rise):
    """Sums of one orientation along each length, right from 17 pixels within the image."""
    height, width = image.shape
    steps = LineSteps.of(width, image.size, side_px=1)
    k = list(orientations()).index((steep, rise))
    reach = np.array([17 * width + 17, (height - 17) * width - 17], np.uint64)
    zones, gains = np.ones(image.size, np.float32), np.ones((1, 3, 4), np.float32)
    sums, best, which = (np.zeros((n, image.size), np.float32) for n in (3, 2, 2))
    own = [part[k : k + 1] for part in (steps.pairs, steps.halves, steps.sides)]
    name = np.zeros(1, np.float32)
    score_lines(pair_sums(image), *own, name, gains, zones, reach, sums, best, which)
    return sums.reshape(3, height, width)


def line_kernels(*, steep, rise):
    """Kernels whose convolution is the sum along each length, read off from the answer to a single pixel."""
    dot = np.zeros((2 * MIDDLE + 1, 2 * MIDDLE + 1), np.float32)
    dot[MIDDLE, MIDDLE] = 1
    return [sums[::-1, ::-1].copy() for sums in all_sums(dot, steep=steep, rise=rise)]


MIDDLE = 40


@pytest.mark.parametrize(("steep", "rise"), list(orientations()))
def test_branches_are_digital_lines(steep, rise):
    for kernel, length in zip(line_kernels(steep=steep, rise=rise), LENGTHS_PX, strict=True):
        rows, cols = np.nonzero(kernel)
        along, across = (rows, cols) if steep else (cols, rows)
        assert (kernel[rows, cols] == 1).all()
        assert sorted(along - MIDDLE) == list(range(-length // 2, length // 2))
        assert np.abs(across - MIDDLE - (along - MIDDLE) * rise / 8).max() <= 1.0


@pytest.mark.parametrize(("steep", "rise"), [(False, 0), (False, 5), (True, -3), (True, 8)])
def test_sums_by_doubling_are_the_direct_convolution(steep, rise):
    image, pad = noise(), 16
    kernels = line_kernels(steep=steep, rise=rise)
    padded = np.pad(image, pad)
    for sums, kernel in zip(all_sums(padded, steep=steep, rise=rise), kernels, strict=True):
        direct = cv2.filter2D(padded, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        inside = (slice(17, -17), slice(17, -17))
        np.testing.assert_allclose(sums[inside], direct[inside], atol=1e-4)


def test_scores_are_the_best_direct_response_over_its_noise():
    image, pad, side = noise((64, 70)), 24, 3
    evidence = line_evidence(image)
    padded = np.pad(image, pad)
    best = np.zeros_like(image)
    for steep, rise in orientations():
        for kernel in line_kernels(steep=steep, rise=rise):
            c = cv2.filter2D(padded, -1, kernel, borderType=cv2.BORDER_CONSTANT)
            low, high = (np.roll(c, s, axis=1 if steep else 0) for s in (side, -side))
            a, b = low - c, high - c
            response = np.minimum(0.5 * (a + b), 2.5 * np.minimum(a, b))[pad:-pad, pad:-pad]
            sigma = 1.4826 * np.median(np.abs(0.5 * (a + b)[pad:-pad, pad:-pad]))
            best = np.maximum(best, response / sigma)
    # the noise is measured on a sample of the pixels only, and the tail is judged besides
    assert np.corrcoef(best.ravel(), evidence.dark.ravel())[0, 1] > 0.98
    assert np.median(evidence.dark / best) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("index", [21, 71, 142, 235])
def test_a_line_between_pixels_answers_in_its_own_direction(index):
    image = noise((128, 128))
    angle = np.pi * index / 256
    dx, dy = 50 * np.cos(angle), 50 * np.sin(angle)
    ends = [(round(16 * (64 + s * dx)), round(16 * (64 + s * dy))) for s in (-1, 1)]
    line = np.zeros_like(image)
    cv2.line(line, ends[0], ends[1], 3.0, 1, cv2.LINE_AA, 4)
    evidence = line_evidence(image - line)
    on = line > 1
    on[:24], on[-24:], on[:, :24], on[:, -24:] = False, False, False, False
    gap = np.abs(evidence.dark_angle[on].astype(int) - index)
    assert (np.minimum(gap, 256 - gap) <= 15).mean() > 0.9
    assert np.median(evidence.dark[on]) > 5
    assert np.median(evidence.bright[on]) < 3


def test_turning_the_contrast_turns_dark_into_bright():
    image = noise()
    image[40] -= 2
    evidence, turned = line_evidence(image), line_evidence(-image)
    np.testing.assert_allclose(turned.bright, evidence.dark, rtol=5e-3, atol=1e-3)
    np.testing.assert_allclose(turned.dark, evidence.bright, rtol=5e-3, atol=1e-3)
    assert (turned.bright_angle == evidence.dark_angle).mean() > 0.999


@pytest.mark.parametrize("gain", [1 / 64, 64.0])
def test_scores_do_not_depend_on_the_gain(gain):
    image = noise()
    np.testing.assert_allclose(
        line_evidence(np.float32(gain) * image).dark, line_evidence(image).dark, rtol=1e-3, atol=1e-3
    )


def test_a_transposed_image_has_transposed_evidence():
    # the noise is measured on other samples, so scores agree to its accuracy only
    image = noise((128, 160))
    image[60:62, 20:140] -= 1.5
    evidence, turned = line_evidence(image), line_evidence(np.ascontiguousarray(image.T))
    on = (slice(60, 62), slice(40, 120))
    np.testing.assert_allclose(turned.dark.T[on], evidence.dark[on], rtol=0.15)
    assert np.corrcoef(turned.dark.T.ravel(), evidence.dark.ravel())[0, 1] > 0.97
    assert ((evidence.dark_angle[on].astype(int) + 7) % 256 <= 14).mean() > 0.9
    assert (np.abs(turned.dark_angle.T[on].astype(int) - 128) <= 7).mean() > 0.9


def test_an_edge_is_no_line_and_a_ridge_beside_it_is():
    image = noise((128, 128))
    image[:, 64:] += 20
    ridge = image.copy()
    ridge[:, 100] += 3
    evidence = line_evidence(ridge)
    score = np.maximum(evidence.dark, evidence.bright)
    assert np.median(evidence.bright[30:-30, 100]) > 7
    assert np.median(score[30:-30, 62:67]) < 5


def test_noise_alone_stays_below_the_thresholds():
    for seed in range(3):
        image = cv2.GaussianBlur(noise((256, 256), seed), (0, 0), 0.8)
        evidence = line_evidence(image)
        assert max(evidence.dark.max(), evidence.bright.max()) < 5.9
        assert evidence.n_tests == 256 * 256 * 32 * 3 * 2  # places, directions, lengths, signs


def test_each_zone_is_judged_by_its_own_noise():
    image = noise((160, 160))
    image[:, 80:] *= 5
    zones = np.ones(image.shape, np.uint8)
    zones[:, 80:] = 2
    zones[:20] = 0
    evidence = line_evidence(image, zones=zones)
    assert (evidence.dark[:20] == 0).all()
    assert (evidence.bright[:20] == 0).all()
    quiet, loud = (np.quantile(evidence.dark[30:, part], 0.9) for part in (slice(0, 48), slice(112, 160)))
    assert loud == pytest.approx(quiet, rel=0.12)


def test_input_and_empty_images():
    image = noise((40, 50))
    image.flags.writeable = False
    before = image.copy()
    line_evidence(image)
    assert (image == before).all()
    for shape in ((1, 1), (5, 70), (40, 40)):
        evidence = line_evidence(np.zeros(shape, np.float32))
        assert (evidence.dark == 0).all()
        assert (evidence.bright == 0).all()


def test_scores_do_not_depend_on_which_places_were_sampled():
    image = np.random.default_rng(8).normal(0, 1, (400, 400)).astype(np.float32)
    image[200, 180:200] -= 2.5
    image = cv2.GaussianBlur(image, (0, 0), 0.8)
    best = []
    for shift in (0, 1, 2, 4, 5, 7):
        evidence = line_evidence(np.ascontiguousarray(image[shift:, shift:]))
        best.append(float(evidence.dark[195 - shift : 206 - shift, 170 - shift : 210 - shift].max()))
    assert max(best) < 1.12 * min(best)

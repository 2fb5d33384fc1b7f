"""Line evidence: the same as direct convolution, mirror laws, no answer to edges, every direction alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from endface.imaging.lines import line_evidence


def noise(shape=(90, 110), seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def branch(slope_x, slope_y, half, offset, *, steep):
    """Averaging kernel of a branch along (slope_x, slope_y), `offset` px aside (in x if steep)."""
    size = 2 * (half + abs(offset)) + 1
    kernel, middle = np.zeros((size, size), np.float32), size // 2
    for i in range(-half, half + 1):
        aside = (offset, 0) if steep else (0, offset)
        kernel[middle + i * slope_y + aside[1], middle + i * slope_x + aside[0]] = 1 / (2 * half + 1)
    return kernel


def direct(image, slope_x, slope_y, *, length, side, steep):
    """Response (l + r) / 2 - c with the one-sided guard, by three convolutions."""
    stretch = np.hypot(slope_x, slope_y)
    half, offset = max(1, round(length / stretch / 2)), round(side * stretch)
    low, centre, high = (
        cv2.filter2D(
            image, -1, branch(slope_x, slope_y, half, o, steep=steep), borderType=cv2.BORDER_CONSTANT
        )
        for o in (-offset, 0, offset)
    )
    a, b = low - centre, high - centre
    mean = 0.5 * (a + b)
    weaker = np.where(a * b > 0, np.minimum(np.abs(a), np.abs(b)), 0)
    return np.sign(mean) * np.minimum(np.abs(mean), 2.5 * weaker)


def test_sliding_sums_are_the_direct_convolution():
    # at multiples of 45 degrees a sheared row is a digital line; one gain per direction is all that differs
    image = noise()
    evidence = line_evidence(image, lengths_px=(17,), n_orientations=4)
    seen = 0
    for index, (x, y) in enumerate([(1, 0), (1, 1), (0, 1), (-1, 1)]):
        # 135 degrees rounds to the steep side; seen as a line it is the same, its sides are shifted along it
        response = direct(image, x, y, length=17, side=3.0, steep=index >= 2)
        for score, angle, sign in (
            (evidence.dark, evidence.dark_angle, 1),
            (evidence.bright, evidence.bright_angle, -1),
        ):
            here = (angle == index) & (score > 0.2)
            here[:12], here[-12:], here[:, :12], here[:, -12:] = False, False, False, False
            gain = score[here] / (sign * response[here])
            assert here.sum() > 200
            np.testing.assert_allclose(gain, np.median(gain), rtol=1e-3)
            seen += here.sum()
    assert seen > 4000


@pytest.mark.parametrize("index", [3, 10, 20, 33])
def test_a_line_between_pixels_answers_in_its_own_direction(index):
    image = noise((128, 128))
    angle = np.pi * index / 36
    dx, dy = 50 * np.cos(angle), 50 * np.sin(angle)
    ends = [(round(16 * (64 + s * dx)), round(16 * (64 + s * dy))) for s in (-1, 1)]
    line = np.zeros_like(image)
    cv2.line(line, ends[0], ends[1], 3.0, 1, cv2.LINE_AA, 4)
    evidence = line_evidence(image - line)
    on = line > 1
    on[:24], on[-24:], on[:, :24], on[:, -24:] = False, False, False, False
    gap = np.abs(evidence.dark_angle[on].astype(int) - index)
    assert (np.minimum(gap, 36 - gap) <= 2).mean() > 0.9
    assert np.median(evidence.dark[on]) > 6
    assert np.median(evidence.bright[on]) < 3


def test_turning_the_contrast_turns_dark_into_bright():
    image = noise()
    image[40] -= 2
    evidence, turned = line_evidence(image), line_evidence(-image)
    np.testing.assert_allclose(turned.bright, evidence.dark, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(turned.dark, evidence.bright, rtol=1e-4, atol=1e-4)
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
    assert (evidence.dark_angle[on] % 36 <= 1).mean() > 0.9
    assert (np.abs(turned.dark_angle.T[on].astype(int) - 18) <= 1).mean() > 0.9


def test_an_edge_is_no_line_and_a_ridge_beside_it_is():
    image = noise((128, 128))
    image[:, 64:] += 20
    ridge = image.copy()
    ridge[:, 100] += 3
    evidence = line_evidence(ridge)
    score = np.maximum(evidence.dark, evidence.bright)
    assert np.median(evidence.bright[30:-30, 100]) > 8
    assert np.median(score[30:-30, 62:67]) < 5


def test_noise_alone_stays_below_the_thresholds():
    for seed in range(3):
        image = cv2.GaussianBlur(noise((256, 256), seed), (0, 0), 0.8)
        evidence = line_evidence(image)
        assert max(evidence.dark.max(), evidence.bright.max()) < 5.9
        assert evidence.n_tests == 256 * 256 * 36 * 3 * 2  # places, directions, lengths, signs


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

"""What rows along a rim have in common, and the filters that see through it."""

import numpy as np

from endface.imaging.rimnoise import blur_along, level_scores, matched_filters, quiet_columns


def test_a_spot_in_a_quiet_row_is_seen_beside_a_loud_one():
    rng = np.random.default_rng(0)
    breaks = rng.normal(0, 1, (9, 1200)).astype(np.float32)
    breaks[5] *= 12
    known = np.ones(breaks.shape, bool)
    _, covariance = quiet_columns(breaks, known, least=0.1)
    spot = np.zeros(breaks.shape, np.float32)
    spot[3:6, 600:604] = -4

    def contrast(weights):
        noise, signal = (blur_along(weights @ part, 1.6)[4] for part in (breaks, spot))
        return -signal.min() / noise.std()

    plain = matched_filters(np.eye(9, dtype=np.float32), 1.2)
    assert contrast(matched_filters(covariance, 1.2)) > 2 * contrast(plain)


def test_chips_on_a_third_of_a_rim_leave_its_noise_alone():
    breaks = np.random.default_rng(1).normal(0, 1, (9, 1200)).astype(np.float32)
    breaks[3:6, 100:500:12] = breaks[3:6, 101:500:12] = -25
    quiet, covariance = quiet_columns(breaks, np.ones(breaks.shape, bool), least=0.1)
    assert not quiet[100:500:12].any()
    assert np.allclose(np.diag(covariance), 1, atol=0.15)


def test_normal_scores_keep_their_threshold_and_heavy_ones_do_not():
    rng = np.random.default_rng(2)
    known = np.ones((9, 2000), bool)
    normal = rng.normal(0, 1, known.shape).astype(np.float32)
    heavy = rng.standard_t(4, known.shape).astype(np.float32)
    same = level_scores(normal, known, threshold=5.0, beside_px=1)[1]
    more = level_scores(heavy, known, threshold=5.0, beside_px=1)[1]
    assert 5.0 <= same < 5.4
    assert more > 1.2 * same

"""Which keypoint the mouse means."""

import numpy as np
from sightline.addon.host.keypoint_overlay import nearest

PLACES = np.array([[[100.0, 100], [np.nan, np.nan], [130, 100]], [[105.0, 103], [np.nan, np.nan], [400, 400]]])


def test_the_nearest_in_reach_of_any_person():
    assert nearest(PLACES, np.array([99.0, 100])) == (0, 0)
    assert nearest(PLACES, np.array([105.0, 104])) == (1, 0)
    assert nearest(PLACES, np.array([131.0, 112]), reach=18) == (0, 2)


def test_nothing_in_reach_is_nothing():
    assert nearest(PLACES, np.array([131.0, 119]), reach=18) is None
    assert nearest(np.full((1, 3, 2), np.nan), np.array([0.0, 0])) is None
    assert nearest(np.zeros((0, 3, 2)), np.array([0.0, 0])) is None

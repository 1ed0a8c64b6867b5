"""How two sets of images differ, in words: effects with intervals and tests, and the images that show it."""

from t2c_search.concepts.shift.diagnosis import PERMUTATIONS, Asked, diagnose
from t2c_search.concepts.shift.sides import Chosen

__all__ = ["PERMUTATIONS", "Asked", "Chosen", "diagnose"]

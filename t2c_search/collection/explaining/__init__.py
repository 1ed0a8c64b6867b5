"""Why a collection's images are hits: the part of the facade that takes vectors apart."""

from t2c_search.collection.explaining.comparing import Comparing
from t2c_search.collection.explaining.grounding import GroundingWords
from t2c_search.collection.explaining.hits import ExplainingHits
from t2c_search.collection.explaining.knowing import Knowing
from t2c_search.collection.explaining.locating import Locating
from t2c_search.collection.explaining.pairs import ExplainingPairs


class Explaining(ExplainingHits, ExplainingPairs, GroundingWords, Locating, Knowing, Comparing):
    """Where and in which words a hit was made, what a model knows, and what images and texts have in common."""

"""The same picture under two values of a field, such as train and test: saved again, made smaller, or cropped a little.

Two measures agree on it. The cosine in the collection's own geometry sees what is shown, and takes two pictures of one scene
for alike; the print (``decoding/look.py``) sees where it is lighter and darker, and takes any two skies for alike. Each is a
correlation, and a pair's score is their product.
"""

from __future__ import annotations

import numpy as np

from t2c_search.concepts.audit.findings import Finding, figures
from t2c_search.concepts.audit.neighbours import Neighbours
from t2c_search.concepts.audit.reading import NO_VALUE, Known

LEAST = 0.2
"""Product from which a pair counts. Of 742 photographs with 50 more that were cropped by 5 % and saved again, all 50 reached it,
by the vectors of three models, and 1 to 3 other pairs, of one scene; the plain cosine that all 50 reach, 28 other pairs do."""


def find_leaks(known: Known, near: Neighbours) -> list[Finding]:
    """Return a finding for each image that has one alike under another value: the best of those among its nearest.

    Each pair is told once, by the image whose id comes first. Where an image has no print, the cosine counts twice.
    """
    here, rank = np.nonzero(near.places >= 0)
    there = near.places[here, rank]
    ours, theirs = known.codes[here], known.codes[there]
    across = (ours != theirs) & (ours != NO_VALUE) & (theirs != NO_VALUE)
    here, there, cosines = here[across], there[across], near.cosines[here, rank][across].astype(np.float64)
    agree = 1 - np.unpackbits(known.prints[here] ^ known.prints[there], axis=1).mean(axis=1) * 2
    seen = known.printed[here] & known.printed[there]
    score = np.maximum(cosines, 0) * np.where(seen, np.maximum(agree, 0), np.maximum(cosines, 0))
    best: dict[tuple[int, int], int] = {}
    for pair in np.flatnonzero(score >= LEAST)[np.argsort(-score[score >= LEAST], kind="stable")]:
        one, two = sorted((int(here[pair]), int(there[pair])))
        best.setdefault((one, two), int(pair))
    return [
        Finding(
            "leak",
            0,
            round(float(score[pair]), 4),
            known.ids[one],
            own=known.names[known.codes[one]],
            suggested=known.names[known.codes[two]],
            other=known.ids[two],
            figures=figures(cosine=cosines[pair], **({"print": agree[pair]} if seen[pair] else {})),
        )
        for (one, two), pair in best.items()
    ]

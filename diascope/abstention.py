"""When is a probability too undecided to be answered?"""

import numpy as np

from diascope.answers import Abstention, deciding_score
from diascope.metrics import OperatingPoint

SURE = 0.9  # so probable a class is not undecided, however few images are less so
ROUNDING = 1e-9  # of a logit that becomes a probability and is compared with that of the same image


def choose_abstention(
    probabilities: np.ndarray, class_names: list[str], point: OperatingPoint | None, share: float
) -> Abstention | None:
    """Return the band that leaves at most this share of held-out images undecided; None where that is no image.

    Parameters
    ----------
    probabilities: (n, n_classes), calibrated, of images that the fit had not seen.
    point: two classes only; the band lies around its threshold, equally wide on both sides in logits, so that what is
        nearest to being decided otherwise is left out. With more classes it is the least probable answers.

    Selective classification with a threshold on confidence: Chow, On Optimum Recognition Error and Reject Tradeoff,
    IEEE Transactions on Information Theory 1970; Geifman and El-Yaniv, Selective Classification for Deep Neural
    Networks, NeurIPS 2017.
    """
    n_left_out = int(
        share * len(probabilities) + 1e-9
    )  # 0.29 of 100 images are 29, though the product is a little less
    if not n_left_out:
        return None
    scores = deciding_score(probabilities, class_names, point)
    if point is None:
        low, high = 0.0, min(float(np.sort(scores)[n_left_out]), SURE)
    else:
        centre = _logit(point.threshold)
        width = min(np.sort(np.abs(_logit(scores) - centre))[n_left_out], _logit(SURE)) - ROUNDING
        width = max(width, 0.0)
        low, high = _sigmoid(centre - width), _sigmoid(centre + width)
    left_out = Abstention(low=low, high=high, share=0).leaves_out(scores)
    return Abstention(low=low, high=high, share=float(left_out.mean()))


def _logit(probability: np.ndarray | float) -> np.ndarray:
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(p) - np.log1p(-p)


def _sigmoid(logit: np.ndarray) -> float:
    return float(1 / (1 + np.exp(-logit)))

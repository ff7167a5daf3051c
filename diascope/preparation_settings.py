"""What may be said to be done to an image before it is resized?"""

from typing import Literal

from diascope.schema import Section

TAILS = 1.0  # per cent of the values at either end that a percentile stretch cuts
TILES = 8  # of CLAHE, along each side
CLIP_LIMIT = 2.0  # of CLAHE: times the count that a tile of even grey values would have

SENTENCES = {
    "median": "median of 3 by 3 pixels",
    "gaussian": "Gaussian blur of 1 pixel",
    "wiener": "adaptive Wiener filter of 3 by 3 pixels",
    "percentile": f"values stretched from percentiles {TAILS:g} and {100 - TAILS:g} of what is not black",
    "clahe": f"contrast-limited adaptive histogram equalisation, {TILES} by {TILES} tiles, clip limit {CLIP_LIMIT:g}",
    "stain": "haematoxylin and eosin brought to reference colours (Macenko)",
}


class Preparation(Section):
    """What is done to every image; part of its features, of the classifier and of what is served."""

    denoise: Literal["none", "median", "gaussian", "wiener"] = "none"
    normalise: Literal["none", "percentile", "clahe", "stain"] = "none"

    @property
    def sentence(self) -> str:
        """What is done, in words."""
        return "; ".join(SENTENCES[each] for each in (self.denoise, self.normalise) if each != "none") or "none"

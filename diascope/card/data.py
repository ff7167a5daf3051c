"""What was it built and tested on, and what holds training and test images apart?"""

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from diascope.card.schema import Data, LeftOut
from diascope.checks import ACROSS_SPLITS, NEAR_TWIN
from diascope.config import DEMO
from diascope.kaggle import is_kaggle
from diascope.records import SPLITS
from diascope.reports.data import split_sentences
from diascope.reports.evaluation import GROUP_SENTENCES
from diascope.reports.figures import counted

if TYPE_CHECKING:
    from diascope.checks import Finding
    from diascope.dataset import DatasetInfo
    from diascope.results import Evaluation

REASONS = {
    "unreadable": "no image, cut off, or larger than allowed",
    "blank": "blank: every pixel has (almost) the same value",
    "conflicts": "the same pixels under two labels",
    "leaks": "the same pixels in two splits",
    "duplicates": "the same pixels again in one split",
}
Disjoint = Literal["patient", "inferred group", "image", "not disjoint"]
PIXELS = "No image is, pixel for pixel, on both sides of training and test."


def data(info: "DatasetInfo", evaluation: "Evaluation") -> Data:
    """Return the data's part of the card, without the name of any file or patient."""
    n_used = sum(n for classes in info.counts.values() for n in classes.values())
    brought = [split for split in SPLITS if split in info.counts and split not in info.splits_made]
    level = disjoint(info)
    return Data(
        source=public(info.source),
        synthetic=info.source == DEMO,
        layout=info.layout.replace("_", " "),
        fingerprint=info.fingerprint,
        class_names=info.class_names,
        counts=info.counts,
        n_found=info.n_found,
        n_used=n_used,
        n_left_out=info.n_found - n_used,
        left_out=left_out(info.findings),
        n_alike=sum(finding.kind == "near_duplicates" for finding in info.findings),
        kept=kept(info),
        splits_brought=[] if brought == ["train"] else brought,
        splits_made=info.splits_made,
        splits=split_sentences(info.counts, info.splits_made),
        grouping=info.grouping,
        disjoint=level,
        separation=separation(level, info.grouping),
        folds=GROUP_SENTENCES[evaluation.groups] if evaluation.method == "cross_validation" else "",
    )


def public(place: str) -> str:
    """The name of a source or file without what says more of its owner: folders above, user names, keys."""
    if is_kaggle(place):
        return place
    if "://" not in place:
        return PurePath(place).name
    address = urlsplit(place)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"


def disjoint(info: "DatasetInfo") -> Disjoint:
    """What training and test images do not share: patients, groups of similar images, or pixels at least."""
    if any(finding.kind == "leaks" and finding.split == "test" and not finding.n_dropped for finding in info.findings):
        return "not disjoint"
    if info.grouping == "patient":
        return "image" if _patients_across(info) else "patient"
    return "inferred group" if "test" in info.splits_made else "image"


def separation(level: Disjoint, grouping: str) -> str:
    """The same in a sentence or two."""
    if level == "not disjoint":
        return "Some test images are, pixel for pixel, also among those that were trained on."
    if level == "patient":
        return "No patient has images on both sides of training and test."
    if level == "inferred group":
        return "Images that look alike are on one side of training and test; patients are not known and may be on both."
    if grouping == "patient":
        return f"{PIXELS} Some patients are on both."
    return f"{PIXELS} Patients are not known in this data and may be on both."


def left_out(findings: "list[Finding]") -> list[LeftOut]:
    """How many files were not used, by reason."""
    counts = {kind: sum(f.n_dropped for f in findings if f.kind == kind) for kind in REASONS}
    return [LeftOut(kind=kind, reason=REASONS[kind], n=n) for kind, n in counts.items() if n]


def kept(info: "DatasetInfo") -> list[str]:
    """What was found and not removed, without names."""
    by_kind = {kind: [f for f in info.findings if f.kind == kind and not f.n_dropped] for kind in REASONS}
    sentences = [f"{counted(len(found), 'finding')} kept: {REASONS[kind]}." for kind, found in by_kind.items() if found]
    sentences += [notice for notice in info.notices if NEAR_TWIN in notice]
    sentences += _patients_across(info)
    return [*sentences, *(finding.detail for finding in info.findings if finding.kind == "imbalance")]


def _patients_across(info: "DatasetInfo") -> list[str]:
    """What was noticed of patients with images in several splits, without their names."""
    notices = [notice.partition(":")[0] for notice in info.notices if ACROSS_SPLITS in notice]
    return [f"{notice}." for notice in notices]

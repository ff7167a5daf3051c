"""What is wrong with the data?"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diascope.config import ChecksConfig
from diascope.errors import InputError, quoted
from diascope.groups import near_duplicate_groups
from diascope.images import ImageFacts
from diascope.records import Record
from diascope.schema import Frozen

FindingKind = Literal["unreadable", "blank", "duplicates", "near_duplicates", "leaks", "conflicts", "imbalance"]
Action = Literal["dropped", "kept", "failed"]

# Standard deviation of grey values 0..255. Of 253 images saved wrongly, with values 0..1, the highest is 0.50; of
# 1,253 usable CT and MRI slices the lowest is 25.
BLANK_CONTRAST = 2.0
SCALED_BRIGHTEST = 3  # largest pixel value of an image that was scaled to 0..1; JPEG makes up to 2 of 1
# Bits of 64 in which near twins may differ. Among 847 distinct chest CT slices, pairs within 2 bits are one slice with
# and without a drawn line, or neighbouring slices, and none has two labels; at 4 bits other patients' slices come in.
NEAR_DISTANCE = 2
SHOWN = 3  # names in a message
# Datasets store what was noticed as sentences; the model card knows these two by these words.
NEAR_TWIN = "near twin"
ACROSS_SPLITS = "in more than one split"
WHY = {
    "unreadable": "unreadable",
    "blank": "blank",
    "duplicates": "copies of others",
    "leaks": "also in another split",
    "conflicts": "under two labels",
}


class Finding(Frozen):
    """One problem with the files it concerns and what was done about it."""

    kind: FindingKind
    files: list[str]  # as named in the source; the first is the one that is kept, if one is
    action: Action
    detail: str  # one sentence
    split: str = ""  # of a leak or of near twins in two splits: the one that is less used for training
    n_dropped: int = 0  # of the files


@dataclass(frozen=True)
class Scanned:
    """A file and what decoding it has shown."""

    record: Record
    facts: ImageFacts | None  # None: it cannot be decoded
    error: str = ""  # why not
    brightest: int = 255  # largest pixel value, 0..255; looked up where the image is blank


@dataclass(frozen=True)
class Checked:
    """What the checks leave."""

    kept: list[Scanned]  # in the order given; all with facts
    clusters: np.ndarray  # (n,) near-duplicate group of each kept image
    findings: list[Finding]
    notices: list[str]


Outcome = tuple[list[Scanned], list[Finding]]  # what a check keeps, what it found


def check(scanned: Sequence[Scanned], class_names: Sequence[str], config: ChecksConfig) -> Checked:
    """Find what is wrong with the images and apply the policies.

    An image under two labels counts as a conflict wherever its copies stand, since nobody knows which label is right;
    what remains is looked through for leaks between splits, and then for copies within a split and label. By default
    the copy in the split that is used later (train, validation, test) is dropped; `drop_training` keeps that one.

    Raises:
        InputError: a policy says `fail`, a class has too few usable images or is missing in a split that was brought.
    """
    kept = list(scanned)
    findings: list[Finding] = []
    policies: list[tuple[Callable[[list[Scanned], str], Outcome], str]] = [
        (_unreadable, config.unreadable),
        (_blank, config.blank),
        (_conflicts, config.conflicts),
        (_leaks, config.leaks),
        (_duplicates, config.duplicates),
    ]
    for find, policy in policies:
        kept, found = find(kept, policy)
        findings += _passed(found, policy)
    _require_usable(scanned, kept, class_names, findings, config.minimum_per_class)
    _require_classes_in_splits(kept, class_names)
    clusters = near_duplicate_groups(np.array([_facts(one).phash for one in kept], dtype=np.uint64), NEAR_DISTANCE)
    near = _near_duplicates(kept, clusters)
    findings += _passed(near, config.near_duplicates)
    findings += _passed(_imbalance(kept, config.imbalance_ratio), config.imbalance)
    return Checked(kept, clusters, findings, [*_near_notices(kept, clusters), *_patient_notices(kept)])


def tally(findings: Iterable[Finding]) -> dict[str, int]:
    """Images concerned, by kind: what a summary line says about the data.

    `leaks` counts the copies in the test split, `leaks_validation` those in the validation split and `leaks_train`
    those in training (`drop_training`); `conflicts` and `near_duplicates` count sets of files, the rest counts files.
    """
    counts = Counter(dropped=0, unreadable=0, blank=0, duplicates=0, leaks=0, leaks_validation=0, leaks_train=0)
    counts.update(conflicts=0, near_duplicates=0)
    for finding in findings:
        counts["dropped"] += finding.n_dropped
        if finding.kind == "leaks":
            counts["leaks" if finding.split == "test" else f"leaks_{finding.split}"] += len(finding.files) - 1
        elif finding.kind in ("unreadable", "blank"):
            counts[finding.kind] += len(finding.files)
        elif finding.kind == "duplicates":
            counts[finding.kind] += len(finding.files) - 1
        elif finding.kind in ("conflicts", "near_duplicates"):
            counts[finding.kind] += 1
    return dict(counts)


def is_blank(facts: ImageFacts) -> bool:
    """Whether there is nothing to see."""
    return facts.contrast < BLANK_CONTRAST


def _passed(found: list[Finding], policy: str) -> list[Finding]:
    if policy == "fail" and found:
        more = f" ({len(found) - 1} more such findings)" if len(found) > 1 else ""
        files = f": {quoted(found[0].files, SHOWN)}" if found[0].files else ""
        raise InputError(f"checks.{found[0].kind} is 'fail': {found[0].detail.rstrip('.')}{files}{more}")
    return found


def _unreadable(scanned: list[Scanned], policy: str) -> Outcome:
    """Dropped under every policy: there is nothing to keep."""
    found = [
        Finding(kind="unreadable", files=[one.record.name], action="dropped", detail=one.error, n_dropped=1)
        for one in scanned
        if one.facts is None
    ]
    return [one for one in scanned if one.facts is not None], found


def _blank(scanned: list[Scanned], policy: str) -> Outcome:
    blank = [one for one in scanned if is_blank(_facts(one))]
    if not blank:
        return scanned, []
    detail = f"{_images(len(blank))} blank: grey values hardly differ (standard deviation below {BLANK_CONTRAST:g})."
    finding = _finding("blank", blank, policy, detail, keep_first=False)
    return (_without(scanned, blank) if finding.n_dropped else scanned), [finding]


def _conflicts(scanned: list[Scanned], policy: str) -> Outcome:
    found, gone = [], []
    for copies in _copies(scanned, lambda one: _facts(one).sha256):
        labels = sorted({one.record.label for one in copies})
        if len(labels) > 1:
            detail = f"The same pixels stand under {' and '.join(repr(label) for label in labels)}."
            found.append(_finding("conflicts", copies, policy, detail, keep_first=False))
            gone += copies if found[-1].n_dropped else []
    return _without(scanned, gone), found


def _leaks(scanned: list[Scanned], policy: str) -> Outcome:
    order = ("test", "validation", "train") if policy == "drop_training" else ("train", "validation", "test")
    found, gone = [], []
    for copies in _copies(scanned, lambda one: _facts(one).sha256):
        present = [split for split in order if any(one.record.split == split for one in copies)]
        for split in present[1:]:
            lost = [one for one in copies if one.record.split == split]
            first = next(one for one in copies if one.record.split == present[0])
            detail = f"The same pixels stand in {present[0]} and in {split}."
            finding = _finding("leaks", [first, *lost], policy, detail, keep_first=True)
            found.append(finding.model_copy(update={"split": split}))
            gone += lost if finding.n_dropped else []
    return _without(scanned, gone), found


def _duplicates(scanned: list[Scanned], policy: str) -> Outcome:
    found, gone = [], []
    for copies in _copies(scanned, lambda one: (_facts(one).sha256, one.record.label, one.record.split)):
        place = f"in {copies[0].record.split}, " if copies[0].record.split else ""
        detail = f"The same pixels stand {len(copies)} times {place}under {copies[0].record.label!r}."
        found.append(_finding("duplicates", copies, policy, detail, keep_first=True))
        gone += copies[1:] if found[-1].n_dropped else []
    return _without(scanned, gone), found


def _near_duplicates(kept: list[Scanned], clusters: np.ndarray) -> list[Finding]:
    found = []
    for members in _clusters(kept, clusters):
        splits = Counter(one.record.split for one in members)
        labels = sorted({one.record.label for one in members})
        detail = f"{len(members)} images look alike (perceptual hashes within {NEAR_DISTANCE} of 64 bits)"
        if len(splits) > 1:
            detail += f", {', '.join(f'{n} in {split}' for split, n in sorted(splits.items()))}"
        if len(labels) > 1:
            detail += f", under {' and '.join(repr(label) for label in labels)}"
        held_out = next((split for split in ("test", "validation") if split in splits), "") if len(splits) > 1 else ""
        files = [one.record.name for one in members]
        found.append(Finding(kind="near_duplicates", files=files, action="kept", detail=f"{detail}.", split=held_out))
    return found


def _near_notices(kept: list[Scanned], clusters: np.ndarray) -> list[str]:
    """How many held-out images have a near twin among those that are trained on."""
    splits = np.array([one.record.split for one in kept])
    notices = []
    for split, earlier in (("validation", ["train"]), ("test", ["train", "validation"])):
        twins = np.isin(clusters[splits == split], clusters[np.isin(splits, earlier)])
        if twins.any():
            verb = "has" if twins.sum() == 1 else "have"
            notices.append(
                f"{twins.sum()} of {len(twins)} {split} images {verb} a {NEAR_TWIN} in {' or '.join(earlier)} "
                f"(perceptual hashes within {NEAR_DISTANCE} of 64 bits); they were kept."
            )
    return notices


def _patient_notices(kept: list[Scanned]) -> list[str]:
    """Splits that were brought are left as they are, but the reader should know."""
    splits = defaultdict(set)
    for one in kept:
        if one.record.patient and one.record.split:
            splits[one.record.patient].add(one.record.split)
    crossing = sorted(patient for patient, some in splits.items() if len(some) > 1)
    if not crossing:
        return []
    verb = "has" if len(crossing) == 1 else "have"
    names = quoted(crossing, SHOWN)
    return [f"{len(crossing)} of {len(splits)} patients {verb} images {ACROSS_SPLITS}: {names}."]


def _imbalance(kept: list[Scanned], ratio: float) -> list[Finding]:
    counts = Counter(one.record.label for one in kept).most_common()
    (most, n_most), (least, n_least) = counts[0], counts[-1]
    if n_most <= ratio * n_least:
        return []
    detail = f"Class {most!r} has {n_most / n_least:.1f} times as many images as {least!r} ({n_most} and {n_least})."
    return [Finding(kind="imbalance", files=[], action="kept", detail=detail)]


def _require_usable(
    scanned: Sequence[Scanned],
    kept: list[Scanned],
    class_names: Sequence[str],
    findings: list[Finding],
    minimum: int,
) -> None:
    usable = Counter(one.record.label for one in kept)
    if not kept:
        raise InputError(_nothing_usable(scanned, findings))
    for name in class_names:
        if usable[name] < minimum:
            of_class = [one for one in scanned if one.record.label == name]
            why = f" of {len(of_class)}: {_why(of_class, findings)}" if len(of_class) > usable[name] else ""
            raise InputError(
                f"class {name!r} has {usable[name]} usable images{why}; checks.minimum_per_class asks for {minimum}"
            )


def _nothing_usable(scanned: Sequence[Scanned], findings: list[Finding]) -> str:
    if all(one.facts is not None and is_blank(one.facts) for one in scanned):
        return f"all {len(scanned)} images are blank{_scaled(scanned)}"
    first = next((f"; the first: {finding.detail}" for finding in findings if finding.kind == "unreadable"), "")
    return f"none of the {len(scanned)} files can be used: {_why(scanned, findings)}{first}"


def _why(scanned: Sequence[Scanned], findings: list[Finding]) -> str:
    """How many of these files each check has dropped."""
    names = {one.record.name for one in scanned}
    lost = Counter[str]()
    for finding in findings:
        gone = finding.files[len(finding.files) - finding.n_dropped :]
        lost[finding.kind] += len(names.intersection(gone))
    blank = [one for one in scanned if one.facts is not None and is_blank(one.facts)]
    reasons = [f"{n} {WHY[kind]}" + (_scaled(blank) if kind == "blank" else "") for kind, n in lost.items() if n]
    return ", ".join(reasons)


def _scaled(blank: Sequence[Scanned]) -> str:
    brightest = max((one.brightest for one in blank), default=255)
    if brightest > SCALED_BRIGHTEST:
        return ""
    return f": no pixel value of 0..255 is above {brightest}; were they scaled to 0..1 before saving?"


def _require_classes_in_splits(kept: list[Scanned], class_names: Sequence[str]) -> None:
    present = defaultdict(set)
    for one in kept:
        present[one.record.split].add(one.record.label)
    for split in sorted(present):
        missing = [name for name in class_names if name not in present[split]]
        if missing and split:
            raise InputError(
                f"the {split} split has no usable image of class {missing[0]!r}; add some, or say in dataset.class_map "
                "which folders are the same class"
            )


def _facts(one: Scanned) -> ImageFacts:
    assert one.facts is not None
    return one.facts


def _copies(scanned: list[Scanned], key: Callable[[Scanned], Hashable]) -> list[list[Scanned]]:
    """Sets of two or more with equal keys, each sorted by name, in order of their first names."""
    sets = defaultdict(list)
    for one in sorted(scanned, key=lambda one: one.record.name):
        sets[key(one)].append(one)
    return [some for some in sets.values() if len(some) > 1]


def _clusters(kept: list[Scanned], clusters: np.ndarray) -> list[list[Scanned]]:
    sets = defaultdict(list)
    for one, cluster in zip(kept, clusters.tolist(), strict=True):
        sets[cluster].append(one)
    return [some for some in sets.values() if len(some) > 1]


def _finding(kind: FindingKind, members: list[Scanned], policy: str, detail: str, *, keep_first: bool) -> Finding:
    drops = policy.startswith("drop")
    n_dropped = len(members) - keep_first if drops else 0
    files = [one.record.name for one in members]
    return Finding(kind=kind, files=files, action="dropped" if drops else "kept", detail=detail, n_dropped=n_dropped)


def _without(scanned: list[Scanned], gone: list[Scanned]) -> list[Scanned]:
    names = {one.record.name for one in gone}
    return [one for one in scanned if one.record.name not in names]


def _images(n: int) -> str:
    return "1 image is" if n == 1 else f"{n} images are"

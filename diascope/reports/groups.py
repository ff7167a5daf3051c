"""Which images stay together?"""

from collections import Counter, defaultdict
from collections.abc import Mapping

from diascope.reports import plots
from diascope.reports.page import render

INFERRED = ("alike:", "cluster:")  # how the names of groups begin that are no patients
MAX_GROUPS = 40  # listed with their files
MAX_FILES = 60  # of one group
MAX_ROWS = 12  # of the table of sizes


def groups_page(groups: Mapping[str, str]) -> str:
    """The page of groups as one HTML file; `groups` maps sample ids to the name of their group."""
    members: defaultdict[str, list[str]] = defaultdict(list)
    for sample, group in groups.items():
        members[group].append(sample)
    ordered = sorted(members, key=lambda group: (-len(members[group]), group))
    return render(
        "groups_page.html",
        level=2,
        n=len(groups),
        n_groups=len(members),
        largest=len(members[ordered[0]]) if ordered else 0,
        alone=sum(len(some) == 1 for some in members.values()),
        inferred=all(group.startswith(INFERRED) for group in members),
        sizes=sizes([len(some) for some in members.values()]),
        listed=[(group, len(members[group]), sorted(members[group])[:MAX_FILES]) for group in ordered[:MAX_GROUPS]],
    )


def sizes(lengths: list[int]) -> list[tuple[str, int, str]]:
    """How many groups have how many images, with a bar; many different sizes are put together."""
    width = max(1, -(-max(lengths, default=1) // MAX_ROWS))
    counts = Counter((length - 1) // width for length in lengths)
    spans = [(i * width + 1, (i + 1) * width, counts[i]) for i in range(max(counts, default=-1) + 1)]
    most = max(counts.values(), default=1)
    return [(str(a) if a == b else f"{a} to {b}", n, plots.bar([n], most)) for a, b, n in spans]

"""Which sets of features were tried, and why was one of them taken?"""

from typing import Any

from diascope.feature_sets import layers_in_words
from diascope.reports import plots
from diascope.reports.figures import figure, listed, score_name
from diascope.results import Search, TriedSet


def search_values(search: Search | None) -> dict[str, Any] | None:
    """What the search's template needs; None where nothing was searched for."""
    if search is None:
        return None
    name, taken = score_name(search.metric), search.sets[search.taken]
    others = [(each.milliseconds, each.score) for each in search.sets if each is not taken]
    series = [(0, True, others), (1, False, [(taken.milliseconds, taken.score)])]
    order = sorted(range(len(search.sets)), key=lambda i: search.sets[i].score, reverse=search.metric != "log_loss")
    return {
        "record": search,
        "metric": name,
        "taken": taken,
        "optimism": figure(search.optimism),
        "plot": plots.scatter(f"{name} and cost of the sets", "ms per image", name, series),
        "rows": [(place + 1, place == search.taken, *_described(search.sets[place])) for place in order],
    }


def _described(each: TriedSet) -> tuple[str, str, str, TriedSet]:
    return listed([str(size) for size in each.image_sizes]), layers_in_words(each.layers), listed(each.pooling), each

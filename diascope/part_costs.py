"""What does one image cost where only some blocks of a network's features are needed?"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from diascope.engine import operation_multiply_adds, operation_times, read_network
from diascope.features import Backbone


@dataclass(frozen=True)
class PartCosts:
    """Costs of a network's nodes, and which of them each block of features needs."""

    needed: list[frozenset[str]]  # names of nodes by block
    multiply_adds: dict[str, int]  # of the nodes that have any
    milliseconds: dict[str, float]
    together: float  # milliseconds of one image for what is done to all blocks at once, after they are pooled
    images: int  # that are run for one: itself and its further views

    @classmethod
    def of(cls, backbone: Backbone) -> "PartCosts":
        """Read the exported graph and time its nodes; all times add up to that of the whole network."""
        network = read_network(backbone.root / "features.xml")
        nodes = network.get_ops()
        images = len(backbone.outputs)
        times = operation_times(network, backbone.info.precision)
        scale = backbone.info.milliseconds / max(sum(times.values()), 1e-9)
        counted = {node.get_friendly_name(): operation_multiply_adds(node) for node in nodes}
        needed = [frozenset(_ancestors(node)) for node in _pooled(network, len(backbone.info.blocks))]
        timed = {name: scale * time for name, time in times.items() if time > 0}
        pooling = sum(timed.get(name, 0) for name in frozenset().union(*needed))
        return cls(
            needed=needed,
            multiply_adds={name: count for name, count in counted.items() if count},
            milliseconds=timed,
            together=max(0.0, backbone.info.milliseconds / images - pooling),
            images=images,
        )

    def gigamacs(self, blocks: Collection[int]) -> float:
        """Return the billions of multiply-adds of one image that the blocks at these places need."""
        return self.images * sum(self.multiply_adds.get(name, 0) for name in self._union(blocks)) / 1e9

    def latency(self, blocks: Collection[int]) -> float:
        """Return the milliseconds of one image that the blocks at these places need, by the times of their nodes."""
        pooling = sum(self.milliseconds.get(name, 0) for name in self._union(blocks))
        return self.images * (pooling + self.together * len(set(blocks)) / len(self.needed))

    def _union(self, blocks: Collection[int]) -> frozenset[str]:
        return frozenset().union(*(self.needed[block] for block in blocks))


def _pooled(network: Any, n_blocks: int) -> list[Any]:
    """The nodes whose outputs are concatenated to the image's features, in the order of the blocks."""
    end = network.output("features").get_node().input_value(0).get_node()
    while end.get_type_name() != "Concat" and n_blocks > 1:
        end = end.input_value(0).get_node()
    if n_blocks == 1:
        return [end]
    assert end.get_input_size() == n_blocks
    return [end.input_value(place).get_node() for place in range(n_blocks)]


def _ancestors(node: Any) -> set[str]:
    found: set[str] = set()
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if each.get_friendly_name() not in found:
            found.add(each.get_friendly_name())
            waiting += [value.get_node() for value in each.input_values()]
    return found

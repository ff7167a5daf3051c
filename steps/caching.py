"""When may a step's stored result be taken instead of running it again?"""

from zenml.config.cache_policy import CachePolicy

PINS = "requirements/train.txt"  # other library versions may give other numbers


def depends_on(*modules: str) -> CachePolicy:
    """Return the policy for a step that calls these modules of the library.

    ZenML's cache key covers the step's own source and inputs; this adds the files of the helpers it calls.
    """
    return CachePolicy(file_dependencies=[PINS, *(f"diascope/{module}.py" for module in modules)])

"""The least that a ZenML pipeline can do: one step that returns a number."""

from zenml import pipeline, step


@step(enable_cache=False)
def nothing() -> int:
    """Return a number."""
    return 1


@pipeline
def empty() -> None:
    """Run the step."""
    nothing()


if __name__ == "__main__":
    empty()

"""What is said of a descent that comes to no number?"""

from diascope.errors import InputError


def diverged(name: str, epoch: int, what: str, learning_rate: float) -> InputError:
    """Return the error of a candidate whose loss, weights or answers (`what`, with its verb) are no longer numbers."""
    return InputError(
        f"Candidate {name}: in epoch {epoch} {what} no longer a number; lower its learning_rate (now "
        f"{learning_rate:g}), or raise its warmup_epochs."
    )

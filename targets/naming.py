"""What is a service called where not every name is allowed?"""

import hashlib
import re


def short_name(name: str, longest: int, prefix: str = "") -> str:
    """A name of lower-case letters, digits and single hyphens that begins with a letter.

    Where it must be shortened, part of a hash keeps it apart from others.
    """
    plain = prefix + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}"
    if len(plain) <= longest:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: longest - 9].rstrip('-')}-{digest}"

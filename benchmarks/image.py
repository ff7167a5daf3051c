"""Build the image around the network that is measured, in a process of its own: BentoML knows one store."""

import json
import os

from benchmarks import child
from benchmarks.prepared import RELEASE


def main() -> None:
    """Build bento and image as the deployment pipeline does; print the image's tag and megabytes."""
    os.environ |= {"BENTOML_HOME": child.options()["store"], "BENTOML_DO_NOT_TRACK": "True"}
    from diascope import docker
    from steps import bento_store

    with bento_store.context(bento_store.build(RELEASE), RELEASE.created) as folder:
        docker.build(folder, RELEASE.tag, {})
    print(json.dumps({"tag": RELEASE.tag, "megabytes": docker.megabytes(RELEASE.tag)}))


if __name__ == "__main__":
    main()

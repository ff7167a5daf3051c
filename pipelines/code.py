"""What code goes to where steps run, when they run elsewhere?

ZenML uploads what Git does not ignore below the project, and without Git everything: installed packages, data, keys.
So the files are looked at before that.
"""

import os
import re
from pathlib import Path

from diascope.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
LARGEST_MB = 20.0  # all files together; every step fetches them
SECRET = re.compile(
    r"\.env(\..+)?|\.netrc|\.pypirc|.+\.(pem|p12|pfx|key|tfvars)|id_(rsa|ecdsa|ed25519)|credentials(\..+)?|kubeconfig"
    r"|service[-_]account.*\.json|values\.yaml|.+\.tfstate.*"
)
IMAGE = re.compile(r".+\.(png|jpe?g|bmp|tiff?|webp|gif|dcm)", re.IGNORECASE)


def check_code(root: Path = ROOT) -> None:
    """Raise InputError where more than code would be uploaded with a run whose steps run elsewhere."""
    from zenml.utils.code_utils import CodeArchive

    archive = CodeArchive(str(root))
    if archive.git_repo is None:
        raise InputError(
            f"Steps that run elsewhere fetch what Git knows of {root}, which is no Git checkout: clone the project, or "
            "make it one with `git init && git add . && git commit -m Start`."
        )
    files = archive.get_files()
    secrets = sorted(name for name in files if SECRET.fullmatch(Path(name).name))
    if secrets:
        raise InputError(f"{secrets[0]} looks like a secret and would be uploaded with the code: put it in .gitignore.")
    images = sorted(name for name in files if IMAGE.fullmatch(Path(name).name))
    if images:
        raise InputError(
            f"{images[0]} is an image and would be uploaded with the code, to stay with it: put images in .gitignore, "
            "and name them as dataset.source with --upload."
        )
    sizes = {name: os.path.getsize(path) for name, path in files.items()}
    if sum(sizes.values()) > LARGEST_MB * 1e6:
        largest = max(sizes, key=lambda name: sizes[name])
        raise InputError(
            f"{sum(sizes.values()) / 1e6:.0f} MB of files would be uploaded with the code, {largest} being the largest "
            "of them: put what is not code in .gitignore."
        )

"""Write a backbone with random weights in a process of its own, so that TensorFlow is loaded nowhere else."""

import json
from pathlib import Path

from benchmarks import child, data
from diascope.config import CandidateConfig
from diascope.features import FeatureSpec, write_backbone


def export(config: CandidateConfig, scratch: Path) -> Path:
    """Return the folder of a candidate's backbone, which is written when it is first asked for."""
    root = scratch / f"backbone-{config.backbone}-{config.alpha}"
    if not root.exists():
        root.mkdir(parents=True)
        child.run("export", candidate=config.model_dump(mode="json"), root=str(root))
    return root


def main() -> None:
    """Write the backbone."""
    asked = child.options()
    config = CandidateConfig.model_validate(asked["candidate"])
    backbone = write_backbone(FeatureSpec.of(config), Path(asked["root"]), data.SEED)
    print(json.dumps({"precision": backbone.info.precision}))


if __name__ == "__main__":
    main()

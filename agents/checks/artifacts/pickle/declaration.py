"""Declares pickles and the formats of PyTorch, scikit-learn and joblib that are pickles."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait

_PICKLE: Final = Trait.PICKLED | Trait.PICKLE_TEXT | Trait.WEIGHTS
_TORCH: Final = ("pickle", "zip", "pytorch", "torchscript", "tar", "npz")
FORMAT: Final = Format(
    name="pickle",
    suffixes=(
        Suffix(".pkl", _PICKLE),
        Suffix(".pickle", _PICKLE),
        Suffix(".pickled", _PICKLE),
        Suffix(".joblib", _PICKLE),
        Suffix(".dill", _PICKLE),
        Suffix(".sav", _PICKLE),
        Suffix(".pk", _PICKLE),
        Suffix(".pytorch", _PICKLE),
        Suffix(".pt", _PICKLE | Trait.SIZED, promises=_TORCH, claim="pytorch"),
        Suffix(".ckpt", _PICKLE | Trait.SIZED, claim="pytorch"),
        Suffix(
            ".pth",
            Trait.PICKLED | Trait.WEIGHTS | Trait.SIZED | Trait.MIXED,
            promises=(*_TORCH, "site"),
            claim="pytorch",
        ),
        Suffix(".bin", Trait.WEIGHTS | Trait.SIZED | Trait.NONEMPTY | Trait.MIXED, claim="pytorch"),
        Suffix(".pt2", Trait.PICKLE_TEXT | Trait.WEIGHTS),
        Suffix(".p", Trait.PICKLED | Trait.PICKLE_TEXT),
        Suffix(".pcl", Trait.PICKLED),
        Suffix(".mdl", Trait.PICKLED | Trait.WEIGHTS | Trait.MIXED),
        Suffix(".dat.pkl", Trait.PICKLED),
        Suffix(".model.bin", Trait.PICKLED),
        Suffix(
            traits=Trait.PICKLED,
            pattern=(
                r"(^|/)(pytorch_model|adapter_model|diffusion_pytorch_model|training_args"
                r"|optimizer|scheduler|consolidated|rng_state|scaler)[\w.-]*\.(bin|pt|pth)$"
            ),
        ),
    ),
    rules=(
        "TW-PICKLE-BROKEN-AFTER-CALL",
        "TW-PICKLE-COMPUTED",
        "TW-PICKLE-DANGEROUS-CALL",
        "TW-PICKLE-DANGEROUS-IMPORT",
        "TW-PICKLE-DISALLOWED-USE",
        "TW-PICKLE-EXPANSION",
        "TW-PICKLE-EXTENSION",
        "TW-PICKLE-FRAME",
        "TW-PICKLE-HOSTILE-CALL",
        "TW-PICKLE-MISPLACED",
        "TW-PICKLE-OTHER-FILE",
        "TW-PICKLE-PATCHED",
        "TW-PICKLE-UNANALYSED",
        "TW-PICKLE-UNKNOWN-IMPORT",
        "TW-PICKLE-UNLISTED-CLASS",
    ),
)

"""Compares the claims of a model card with the push or the artifact itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from agents.checks.artifacts.formats.format import Trait
from agents.checks.artifacts.formats.names import (
    claimed_suffixes,
    has_trait,
    is_sized,
    suffix_of,
)
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection
from schemas.assessments import Check
from schemas.events import ArtifactKind, Card, RegistryPush
from schemas.severity import Status

BYTES_PER_PARAMETER: Final = (0.1, 9.0)
"""From 1-bit packed weights to double precision; outside, size and count contradict."""
PARAMETER_TOLERANCE: Final = 0.2
"""Relative tolerance of a claimed count: cards round, and omit embeddings."""
_OPTIMIZER: Final = re.compile(
    r"(optimizer|scheduler|training_args|rng_state|global_step)", re.IGNORECASE
)
_PART: Final = re.compile(r"-of-\d{5}")
_BASE_LICENCES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), licences)
    for pattern, licences in (
        (r"(^|/)(meta-)?llama-2", ("llama2",)),
        (r"(^|/)(meta-)?llama-3\.1", ("llama3.1",)),
        (r"(^|/)(meta-)?llama-3\.2", ("llama3.2",)),
        (r"(^|/)(meta-)?llama-3\.3", ("llama3.3",)),
        (r"(^|/)(meta-)?llama-3(?![.\d])", ("llama3",)),
        (r"(^|/)llama-4", ("llama4",)),
        (r"^google/(code|recurrent|pali)?gemma", ("gemma",)),
        (r"^mistralai/mistral-large", ("mrl",)),
        (r"^black-forest-labs/flux\.1-dev$", ("flux-1-dev-non-commercial-license",)),
    )
)
"""Base models whose licence binds what is built from them (their own licence texts)."""
_PERMISSIVE: Final = frozenset(
    {"mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "unlicense", "isc", "wtfpl"}
)
_SAFETY: Final = re.compile(
    r"safe|red.?team|eval|benchmark|bias|toxic|audit|certif|jailbreak|alignment|robust|mmlu|"
    r"gsm8k|humaneval|accuracy",
    re.IGNORECASE,
)
_QUANTISATION: Final = re.compile(
    r"(?:^|[^a-z0-9])(int[48]|fp8|fp4|nf4|awq|gptq|bnb|exl2|[248]-?bit|i?q[2-8](?:_[a-z0-9]+)*)",
    re.IGNORECASE,
)


class ArtifactFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts derived from the bytes of a model."""

    parameters: int | None = None
    """Sum over all weight files; None when a file could not be read."""
    dtypes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    quantization: str | None = None


def _contradiction(name: str, description: str, expected: object, actual: object) -> Detection:
    return Detection(
        rule_id="TW-PROV-CARD-CONTRADICTION",
        description=description,
        evidence={"claim": name, "expected": expected, "actual": actual},
        locator=f"card#{name}",
    )


class Claims:
    """Gathers checks and detections about one card."""

    def __init__(self) -> None:
        """Start without any."""
        self.checks: list[Check] = []
        self.detections: list[Detection] = []

    def agree(self, name: str, expected: object, actual: object) -> None:
        """Record that the artifact agrees with the card."""
        self.checks.append(Check(name=name, status=Status.PASS, expected=expected, actual=actual))

    def contradict(self, name: str, description: str, expected: object, actual: object) -> None:
        """Record that the artifact contradicts the card."""
        self.checks.append(
            Check(
                name=name, status=Status.WARN, expected=expected, actual=actual, detail=description
            )
        )
        self.detections.append(_contradiction(name, description, expected, actual))

    def warn(self, name: str, rule_id: str, description: str, **evidence: object) -> None:
        """Record a doubtful claim of the card."""
        self.checks.append(Check(name=name, status=Status.WARN, detail=description))
        self.detections.append(
            Detection(
                rule_id=rule_id,
                description=description,
                evidence=evidence,
                locator=f"card#{name}",
            )
        )


def claims_of_push(push: RegistryPush) -> Claims:
    """Compare a card with the event alone: names, sizes, formats and evidence."""
    claims = Claims()
    card = push.card
    if card is None:
        return claims
    _size_claim(claims, card, push)
    _format_claims(claims, card, (file.path for file in push.files))
    _quantisation_claim(claims, card, push)
    _base_claims(claims, card, push)
    _evidence_claims(claims, card)
    return claims


def _weights(push: RegistryPush) -> tuple[int, bool]:
    """Return the bytes of the largest family of weight files, and whether all sizes are known."""
    by_suffix: dict[str, int] = {}
    for file in push.files:
        if is_sized(file.path) and not _OPTIMIZER.search(file.path):
            if file.size is None:
                return 0, False
            suffix = suffix_of(file.path)
            # Of variants of one checkpoint the largest counts; parts of one file are added.
            if has_trait(file.path, Trait.VARIANTS) and not _PART.search(file.path):
                by_suffix[suffix] = max(by_suffix.get(suffix, 0), file.size)
            else:
                by_suffix[suffix] = by_suffix.get(suffix, 0) + file.size
    return max(by_suffix.values(), default=0), bool(by_suffix)


def _size_claim(claims: Claims, card: Card, push: RegistryPush) -> None:
    if not card.parameters or card.parameters < 0 or push.kind != ArtifactKind.MODEL:
        return
    size, known = _weights(push)
    if not known:
        return
    low, high = (round(card.parameters * share) for share in BYTES_PER_PARAMETER)
    if low <= size <= high:
        claims.agree("card_size", card.parameters, size)
        return
    claims.contradict(
        "card_size",
        f"the card claims {card.parameters} parameters, the weights are {size} bytes",
        card.parameters,
        size,
    )


def _format_claims(claims: Claims, card: Card, paths: Iterable[str]) -> None:
    suffixes = {suffix_of(path) for path in paths}
    if not suffixes:
        return
    for name in card.formats:
        shown_by = claimed_suffixes(name.lower())
        if shown_by is None:
            continue
        if shown_by & suffixes:
            claims.agree(f"card_format_{name.lower()}", name, sorted(shown_by & suffixes))
        else:
            claims.contradict(
                f"card_format_{name.lower()}",
                f"the card claims the format {name[:40]!r}, no file is of it",
                name,
                sorted(suffixes),
            )


def _quantisation_claim(claims: Claims, card: Card, push: RegistryPush) -> None:
    if card.quantization is None:
        return
    claimed = card.quantization.lower()
    named = {
        match.group(1).lower().replace("-", "")
        for text in (push.repository or "", *(file.path for file in push.files))
        for match in _QUANTISATION.finditer(text)
    }
    if claimed in {"none", "no", "fp16", "bf16", "fp32", "full"} and named:
        claims.contradict(
            "card_quantization",
            "the card claims full precision, the names say quantised weights",
            card.quantization,
            sorted(named)[:20],
        )


def _base_claims(claims: Claims, card: Card, push: RegistryPush) -> None:
    own = (push.repository or "").lower()
    for base in card.base_model:
        if own and base.lower().removeprefix("huggingface/") == own:
            claims.contradict("card_base_model", "the card names itself as base", base, own)
    licence = (card.license or "").lower()
    for base in card.base_model:
        for pattern, allowed in _BASE_LICENCES:
            if not pattern.search(base.lower().removeprefix("huggingface/")):
                continue
            if licence in _PERMISSIVE and licence not in allowed:
                claims.warn(
                    CheckName.CARD_LICENSE,
                    "TW-PROV-CARD-LICENSE",
                    f"the card claims {licence}, its base model is under {allowed[0]}",
                    expected=allowed[0],
                    actual=licence,
                    base_model=base,
                )
                return
            break


def _evidence_claims(claims: Claims, card: Card) -> None:
    bare = [claim for claim in card.claims if not claim.evidence and _SAFETY.search(claim.name)]
    if bare:
        names = [claim.name[:100] for claim in bare[:20]]
        claims.warn(
            CheckName.CARD_CLAIMS,
            "TW-PROV-CLAIM-UNEVIDENCED",
            f"{len(bare)} claimed results name no evidence: {', '.join(names[:3])}",
            claims=names,
        )
    elif card.claims:
        claims.checks.append(Check(name=CheckName.CARD_CLAIMS, status=Status.PASS))


def claims_of_artifact(
    card: Card | None, facts: ArtifactFacts, kind: str = ArtifactKind.MODEL
) -> Claims:
    """Compare a card with the bytes of the model.

    Args:
        card: The card, or None.
        facts: The facts from safetensors and GGUF headers and `config.json`.
        kind: Adapters hold only part of the parameters that their card counts.
    """
    claims = Claims()
    if card is None:
        return claims
    if card.parameters and facts.parameters is not None and kind == ArtifactKind.MODEL:
        packed = facts.quantization is not None or any(
            dtype.upper() in {"U8", "I8", "I32", "U32"} for dtype in facts.dtypes
        )
        near = abs(facts.parameters - card.parameters) <= PARAMETER_TOLERANCE * card.parameters
        if near:
            claims.agree("card_parameters", card.parameters, facts.parameters)
        elif not packed:
            # Packed integers hold several weights each: elements are not parameters.
            claims.contradict(
                "card_parameters",
                f"the card claims {card.parameters} parameters, the headers hold "
                f"{facts.parameters}",
                card.parameters,
                facts.parameters,
            )
    if card.architectures and facts.architectures:
        if {name.lower() for name in card.architectures} & {
            name.lower() for name in facts.architectures
        }:
            claims.agree("card_architecture", card.architectures, facts.architectures)
        else:
            claims.contradict(
                "card_architecture",
                "the artifact is of another architecture than the card claims",
                list(card.architectures),
                list(facts.architectures),
            )
    if card.quantization and facts.quantization:
        claimed, actual = (
            re.sub(r"[^a-z0-9]", "", text.lower())
            for text in (card.quantization, facts.quantization)
        )
        if claimed in actual or actual in claimed:
            claims.agree("card_quantization", card.quantization, facts.quantization)
        else:
            claims.contradict(
                "card_quantization",
                "the artifact is quantised otherwise than the card claims",
                card.quantization,
                facts.quantization,
            )
    return claims

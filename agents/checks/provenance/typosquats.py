"""Detects model names that imitate a popular model or organisation.

Three rules keep it precise: organisations on the popular list own their names; the exact name of a
popular model under another organisation is a mirror or a derivative, not a look-alike; and a word
that popular names use is not a misspelling of another.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib import resources
from typing import Final, Literal

import msgspec
from rapidfuzz.distance import OSA

_CONFUSABLE: Final = str.maketrans(
    {
        # Cyrillic and Greek letters that look Latin (Unicode TR 39 confusables, lower case).
        **dict(zip("авсеіјкмнорԛѕтухԝгԁһ", "abceijkmhopqstyxwrdh", strict=True)),
        **dict(zip("αβεικνορτυχγηω", "abeiknoptuxynw", strict=True)),
        **dict(zip("ıɑɡɩʟɴƅꮯꮪꭰ", "iagiinbcsd", strict=True)),
    }
)
_DIGITS: Final = str.maketrans("013457$", "oleasts")
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_SPLIT: Final = re.compile(r"[^a-z0-9]+")
_WORDS: Final = re.compile(r"[a-z]+|[0-9]+")
_AFFIXES: Final = frozenset(
    {
        "ai",
        "app",
        "company",
        "dev",
        "hf",
        "hub",
        "huggingface",
        "inc",
        "labs",
        "llm",
        "models",
        "official",
        "org",
        "real",
        "release",
        "research",
        "support",
        "team",
        "the",
        "verified",
    }
)
"""Words that make a name look like a branch of a popular organisation."""
MIN_ORGANISATION: Final = 5
"""Shorter organisation names are within one edit of too many legitimate ones."""
MIN_WORD: Final = 5
"""Shorter words of a name are within one edit of too many legitimate ones."""


Mechanism = Literal["homoglyph", "separators", "misspelling", "affix"]


class LookAlike(msgspec.Struct, frozen=True, kw_only=True):
    """The target that a name imitates, and the technique."""

    imitated: str
    mechanism: Mechanism
    part: Literal["organisation", "name"]
    exact_model: bool
    """The rest of the identifier names one of the imitated organisation's popular models."""


class _Popular(msgspec.Struct, frozen=True):
    organisations: dict[str, str]
    """Folded name: as written."""
    by_skeleton: dict[str, str]
    owners: dict[str, tuple[str, ...]]
    """Skeleton of a model's name: the organisations with a model of that name."""
    names: dict[tuple[str, ...], str]
    """Words of a model's name: its identifier."""
    by_one_gap: dict[tuple[int, tuple[str, ...]], tuple[str, ...]]
    """(gap position, words without it): the words at that position in popular names."""
    vocabulary: frozenset[str]
    legacy: dict[str, str]


def _fold(text: str) -> str:
    """Return `text` compatibility-normalised, lower-case, with look-alike letters made Latin."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_CONFUSABLE)
    decomposed = unicodedata.normalize("NFKD", plain)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_CONFUSABLE)


def _skeleton(text: str) -> str:
    """Return a folded name without separators and letter substitutions."""
    bare = _SPLIT.sub("", _fold(text)).translate(_DIGITS)
    for pair, letter in _PAIRS:
        bare = bare.replace(pair, letter)
    return bare


def _name_skeleton(text: str) -> str:
    """Return a model name without separators; digits stay, as they distinguish versions."""
    return _SPLIT.sub("", _fold(text))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for token in _SPLIT.split(_fold(text)) for word in _WORDS.findall(token))


def popular_identifiers() -> tuple[str, ...]:
    """Return the identifiers of the shipped list of popular models."""
    source = resources.files("agents.checks.provenance").joinpath("popular_models.txt")
    lines = source.read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


@cache
def _popular() -> _Popular:
    organisations: dict[str, str] = {}
    owners: dict[str, list[str]] = {}
    names: dict[tuple[str, ...], str] = {}
    legacy: dict[str, str] = {}
    gaps: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for identifier in popular_identifiers():
        organisation, _, name = identifier.rpartition("/")
        if organisation:
            organisations[organisation.lower()] = organisation
            owners.setdefault(_name_skeleton(name), []).append(organisation)
        else:
            legacy[_name_skeleton(name)] = name
        words = _words(name)
        if words not in names:
            names[words] = identifier
            for position, word in enumerate(words):
                gap = (position, words[:position] + words[position + 1 :])
                gaps.setdefault(gap, []).append(word)
    return _Popular(
        organisations=organisations,
        by_skeleton={_skeleton(name): name for name in organisations.values()},
        owners={skeleton: tuple(found) for skeleton, found in owners.items()},
        names=names,
        by_one_gap={gap: tuple(words) for gap, words in gaps.items()},
        vocabulary=frozenset(word for words in names for word in words),
        legacy=legacy,
    )


def is_popular_organisation(name: str) -> bool:
    """Return whether an organisation is on the popular list, as itself."""
    return name.lower() in _popular().organisations


def find_look_alike(repository: str) -> LookAlike | None:
    """Return the target that a model's name imitates, if any.

    Args:
        repository: `organisation/name`, or a name alone; of longer paths the last two segments.
    """
    segments = [segment for segment in repository.strip("/").split("/") if segment][-2:]
    if not segments:
        return None
    name = segments[-1]
    if len(segments) == 1:
        return _name_alone(name)
    organisation = segments[0]
    if is_popular_organisation(organisation):
        return None
    return _organisation_look_alike(organisation, name) or _name_look_alike(name, organisation)


def _name_alone(name: str) -> LookAlike | None:
    legacy = _popular().legacy
    skeleton = _name_skeleton(name)
    if skeleton in legacy:
        if legacy[skeleton] == name.lower():
            return None
        mechanism: Mechanism = "separators" if name.isascii() else "homoglyph"
        return LookAlike(
            imitated=legacy[skeleton], mechanism=mechanism, part="name", exact_model=True
        )
    return _name_look_alike(name, "")


def _organisation_look_alike(organisation: str, name: str) -> LookAlike | None:
    popular = _popular()
    skeleton = _skeleton(organisation)
    twin = popular.by_skeleton.get(skeleton)
    if twin is not None:
        mechanism: Mechanism = (
            "separators"
            if _SPLIT.sub("", organisation.lower()) == _SPLIT.sub("", twin.lower())
            else "homoglyph"
        )
        return LookAlike(
            imitated=twin,
            mechanism=mechanism,
            part="organisation",
            exact_model=_is_model_of(twin, name),
        )
    for written in popular.owners.get(_name_skeleton(name), ()):
        folded = written.lower()
        if len(folded) >= MIN_ORGANISATION and (
            OSA.distance(_fold(organisation), folded, score_cutoff=1) <= 1
            or OSA.distance(skeleton, _skeleton(written), score_cutoff=1) <= 1
        ):
            return LookAlike(
                imitated=written, mechanism="misspelling", part="organisation", exact_model=True
            )
        if _has_affix(organisation, written):
            return LookAlike(
                imitated=written, mechanism="affix", part="organisation", exact_model=True
            )
    return None


def _has_affix(organisation: str, written: str) -> bool:
    own = [word for word in _SPLIT.split(_fold(written)) if word]
    words = [word for word in _SPLIT.split(_fold(organisation)) if word]
    rest = [word for word in words if word not in own]
    if rest and all(word in words for word in own):
        return all(word in _AFFIXES for word in rest)
    joined, bare = "".join(words), "".join(own)
    if len(bare) < MIN_ORGANISATION or joined == bare:
        return False
    return (joined.startswith(bare) and joined.removeprefix(bare) in _AFFIXES) or (
        joined.endswith(bare) and joined.removesuffix(bare) in _AFFIXES
    )


def _is_model_of(organisation: str, name: str) -> bool:
    return organisation in _popular().owners.get(_name_skeleton(name), ())


def _name_look_alike(name: str, organisation: str) -> LookAlike | None:
    popular = _popular()
    words = _words(name)
    if not words:
        return None
    if words in popular.names:
        if name.isascii():
            return None
        return LookAlike(
            imitated=popular.names[words], mechanism="homoglyph", part="name", exact_model=True
        )
    for position, word in enumerate(words):
        if len(word) < MIN_WORD or word in popular.vocabulary or not word.isalpha():
            continue
        if word == _fold(organisation):
            continue
        rest = words[:position] + words[position + 1 :]
        for candidate in popular.by_one_gap.get((position, rest), ()):
            if len(candidate) < MIN_WORD or not candidate.isalpha():
                continue
            if word in {candidate + "s", candidate.removesuffix("s")}:
                continue
            if OSA.distance(word, candidate, score_cutoff=1) <= 1:
                original = (*words[:position], candidate, *words[position + 1 :])
                return LookAlike(
                    imitated=popular.names[original],
                    mechanism="misspelling",
                    part="name",
                    exact_model=False,
                )
    return _leet_name(words, name)


def _leet_name(words: tuple[str, ...], name: str) -> LookAlike | None:
    """Return the popular name that digits in place of letters imitate (`b3rt`)."""
    popular = _popular()
    tokens = [token for token in _SPLIT.split(_fold(name)) if token]
    changed = False
    plain: list[str] = []
    for token in tokens:
        as_letters = token.translate(_DIGITS)
        if as_letters != token and as_letters in popular.vocabulary and not token.isdigit():
            changed = changed or len(_WORDS.findall(token)) > 1
            plain.append(as_letters)
        else:
            plain.extend(_WORDS.findall(token))
    if not changed or tuple(plain) == words:
        return None
    imitated = popular.names.get(tuple(plain))
    if imitated is None:
        return None
    return LookAlike(imitated=imitated, mechanism="homoglyph", part="name", exact_model=True)

"""Write a scan as a CycloneDX 1.6 ML-BOM: files as components, findings as vulnerabilities."""

from __future__ import annotations

import uuid
from typing import Any, Final

from schemas.canonical import stable_hash
from schemas.severity import Severity
from streams.reports.entries import FileEntry, FindingEntry, active

_MODELS: Final = (
    "safetensors", "gguf", "onnx", "pickle", "torch", "pytorch", "keras", "hdf5", "savedmodel",
    "tflite", "joblib", "skops", "nemo", "flax", "pmml", "xgboost", "lightgbm", "catboost",
    "openvino", "coreml", "llamafile", "executorch", "npy", "npz", "zip",
)  # fmt: skip
"""Formats of models; components of other formats are plain files."""
_SEVERITIES: Final = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "high",
    Severity.MEDIUM: "medium",
    Severity.LOW: "low",
    Severity.INFORMATIONAL: "info",
}


def cyclonedx(files: tuple[FileEntry, ...], version: str) -> dict[str, Any]:
    """Return a scan as a CycloneDX document; the same scan gives the same document.

    Args:
        files: The scanned files.
        version: The version of Tidewatch.

    Source: CycloneDX 1.6 JSON schema (ECMA-424), machine learning bill of materials.
    """
    references = {file.path: _reference(file) for file in files}
    identity = stable_hash(*(f"{file.path}|{file.sha256}|{file.verdict}" for file in files))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [{"type": "application", "name": "tidewatch", "version": version}]
            }
        },
        "components": [_component(file, references[file.path]) for file in files],
        "vulnerabilities": [
            _vulnerability(finding, references[file.path], at)
            for file in files
            for at, finding in enumerate(active(file))
        ],
    }


def _reference(file: FileEntry) -> str:
    return f"file-{stable_hash(file.path)[:32]}"


def _is_model(file: FileEntry) -> bool:
    return any(mark in (file.format or "").lower() for mark in _MODELS)


def _component(file: FileEntry, reference: str) -> dict[str, Any]:
    model = _is_model(file)
    properties = [{"name": "tidewatch:verdict", "value": str(file.verdict)}]
    if file.format:
        properties.append({"name": "tidewatch:format", "value": file.format})
    if file.size is not None:
        properties.append({"name": "tidewatch:size", "value": str(file.size)})
    properties += [{"name": "tidewatch:reason", "value": reason} for reason in file.reasons]
    component: dict[str, Any] = {
        "type": "machine-learning-model" if model else "file",
        "bom-ref": reference,
        "name": file.path,
        "properties": properties,
    }
    if file.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": file.sha256}]
    if model:
        component["modelCard"] = {
            "properties": [{"name": "tidewatch:format", "value": file.format or "unknown"}]
        }
    return component


def _vulnerability(finding: FindingEntry, reference: str, at: int) -> dict[str, Any]:
    return {
        "bom-ref": f"{reference}-{at}",
        "id": finding.rule_id,
        "source": {"name": "tidewatch"},
        "ratings": [
            {
                "source": {"name": "tidewatch"},
                "severity": _SEVERITIES[finding.severity],
                "method": "other",
            }
        ],
        "description": finding.description,
        "recommendation": finding.remediation,
        "affects": [{"ref": reference}],
        "properties": [
            {"name": "tidewatch:ioc_type", "value": finding.ioc_type},
            {"name": "tidewatch:mitre_atlas_id", "value": finding.mitre_atlas_id},
            {"name": "tidewatch:confidence", "value": str(finding.confidence)},
        ],
    }

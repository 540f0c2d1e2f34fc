"""Describes where to enter an endpoint's address and secret at each producer."""

from __future__ import annotations

from typing import Final

from streams.gateway.config import CLOUDEVENTS, GITHUB, Endpoint, proof_rule

_BEARER: Final = "Send the header Authorization: Bearer, followed by the secret."
_GITHUB: Final = (
    "In the repository or organisation open Settings, Webhooks, Add webhook.",
    "Paste the address as Payload URL, and the secret as Secret.",
    "Choose application/json as Content type.",
    "Select Packages, Registry packages and Workflow runs.",
)
_STEPS: Final[dict[str, tuple[str, ...]]] = {
    "huggingface": (
        "In the Hub open Settings, Webhooks, Add a new webhook.",
        "Paste the address as Webhook URL, and the secret as Secret.",
        "Choose the users, organisations or repositories to watch, and Repo update as the trigger.",
    ),
    "mlflow": (
        "On a machine with MLflow 3 and the secret call MlflowClient.create_webhook.",
        "Give it the address as url, and the secret as secret.",
        (
            "Name the events registered_model.created, model_version.created and"
            " model_version_alias.created."
        ),
    ),
    GITHUB: _GITHUB,
    "github-package": _GITHUB,
    "github-workflow-run": _GITHUB,
    "gitlab": (
        "In the project or group open Settings, Webhooks.",
        "Paste the address as URL, and the secret as Secret token.",
        "Select Pipeline events and Deployment events.",
    ),
    "harbor": (
        "In the project open Webhooks, New Webhook, and choose http.",
        "Paste the address as Endpoint URL, and the secret as Auth Header.",
        "Select Artifact pushed, pulled and deleted.",
    ),
    "jfrog": (
        "Open Administration, General, Webhooks, New Webhook.",
        "Paste the address as URL, and the secret as Secret token.",
        "Select the events of the domains Artifact and Docker.",
    ),
    "wandb": (
        "In the team's settings open Webhooks.",
        "Paste the address, and choose the team secret that signs.",
    ),
    CLOUDEVENTS: ("POST CloudEvents to the address, structured, batched or binary.",),
}


def steps(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the steps to set up a producer, in order; the secret is not among them.

    Args:
        endpoint: The endpoint, with producer and proof.
    """
    rule, own = proof_rule(endpoint), proof_rule(Endpoint(tenant="x", producer=endpoint.producer))
    if rule == own and endpoint.producer in _STEPS:
        known = _STEPS[endpoint.producer]
        return (*known, _BEARER) if endpoint.producer == CLOUDEVENTS else known
    if rule.kind == "path":
        return ("Have it POST to the address, with the secret in place of SECRET.",)
    if rule.kind == "mtls":
        return ("Have it POST to the address, with its client certificate.",)
    if rule.kind == "bearer":
        return ("Have it POST to the address.", _BEARER)
    if rule.kind == "header":
        return (
            "Have it POST to the address.",
            f"Have it send the secret in the header {rule.header}.",
        )
    return (
        "Have it POST to the address.",
        f"Have it sign the body with the secret (HMAC-SHA256), in the header {rule.header}.",
    )

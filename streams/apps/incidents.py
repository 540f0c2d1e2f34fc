"""The application that manages incidents and issues containment commands."""

from __future__ import annotations

from agents.containment_results import containment_results_agent
from agents.domain.knowledge import MemoryKnowledge
from agents.domain.organisations import Register
from agents.incidents import incidents_agent
from agents.messages import StandardDocuments
from schemas.channels import Channel
from streams.apps.decoding import incidents_decoder, result_decoder
from streams.apps.instrumentation import count
from streams.apps.knowledge_topics import policy_reference
from streams.apps.topology import AppParts
from streams.engine.binding import Binding
from streams.kafka.topics import tenant_slug
from streams.settings import Settings
from streams.signing_keys import (
    COMMANDS,
    OPERATOR,
    RESPONDER,
    KeyRing,
    keys_dir,
    load_or_create_signing_key,
    responder_ring,
    trusted_dir,
)


def build(settings: Settings) -> AppParts:
    """Return the parts of the application that manages incidents and their containment."""
    knowledge = MemoryKnowledge()
    folder = keys_dir(settings.state_dir)
    for name in (OPERATOR, RESPONDER):
        load_or_create_signing_key(folder, name)
    documents = StandardDocuments(
        load_or_create_signing_key(folder, COMMANDS),
        with_ecs=settings.ecs,
        tlp=settings.share_tlp,
        k=settings.privacy_k,
    )
    return AppParts(
        bindings=(
            Binding(
                name="incidents",
                channels=(Channel.INCIDENT_UPDATES, Channel.DECISIONS),
                agent=incidents_agent(
                    knowledge, documents, settings.privacy_k, Register(settings.organisations)
                ),
                decode=incidents_decoder(KeyRing(trusted_dir(folder, OPERATOR))),
                rows=True,
                count=count,
            ),
            Binding(
                name="containment-results",
                channels=(Channel.CONTAINMENT_RESULTS,),
                agent=containment_results_agent(
                    lambda tenant: responder_ring(folder, tenant_slug(tenant))
                ),
                decode=result_decoder(),
            ),
        ),
        references=(policy_reference(knowledge, settings, reporter="incidents"),),
    )

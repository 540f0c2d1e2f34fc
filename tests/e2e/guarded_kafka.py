"""A broker that asks who is there: SASL/PLAIN for everybody, and rights by Kafka's own rules."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import confluent_kafka.admin as confluent

from streams.broker import EmbeddedBroker
from streams.broker.ports import free_ports

PASSWORD = "of-{}-and-nobody-else"


ALL = confluent.AclBindingFilter(
    confluent.ResourceType.ANY,
    None,
    confluent.ResourcePatternType.ANY,
    None,
    None,
    confluent.AclOperation.ANY,
    confluent.AclPermissionType.ANY,
)


def password(user: str) -> str:
    """Return the password of a user."""
    return PASSWORD.format(user)


class GuardedKafka:
    """One broker with two doors: `inner` for its operator alone, `address` for users."""

    def __init__(self, folder: Path, users: Iterable[str]) -> None:
        inner, outer, controller = free_ports(3)
        known = " ".join(f'user_{user}="{password(user)}"' for user in users)
        self.address = f"127.0.0.1:{outer}"
        self.broker = EmbeddedBroker(
            folder,
            port=inner,
            properties={
                "listeners": f"PLAINTEXT://127.0.0.1:{inner},SASL://{self.address},"
                f"CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{inner},SASL://{self.address}",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
                "SASL:SASL_PLAINTEXT",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl.plain.sasl.jaas.config": "org.apache.kafka.common.security."
                f"plain.PlainLoginModule required {known};",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
        )

    @property
    def inner(self) -> str:
        """The operator's door."""
        return self.broker.bootstrap

    def settings_of(self, user: str) -> dict[str, str]:
        """Return the settings with which a user connects."""
        return {
            "kafka": self.address,
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_username": user,
            "kafka_password": password(user),
        }

    def allow(self, rules: Iterable[Mapping[str, str]]) -> None:
        """Put access rules in force, as `tidewatch topics acls --format json` prints them."""
        admin = confluent.AdminClient({"bootstrap.servers": self.inner})
        wanted = {_binding(rule) for rule in rules}
        for future in admin.create_acls(list(wanted)).values():
            future.result(30)
        # the broker answers before its authorizer knows them
        deadline = time.monotonic() + 30
        while not wanted <= set(admin.describe_acls(ALL).result(30)):
            assert time.monotonic() < deadline, "the rules are in force"
            time.sleep(0.05)


def _binding(rule: Mapping[str, str]) -> confluent.AclBinding:
    operations = {
        "Read": confluent.AclOperation.READ,
        "Write": confluent.AclOperation.WRITE,
        "Create": confluent.AclOperation.CREATE,
        "Describe": confluent.AclOperation.DESCRIBE,
        "DescribeConfigs": confluent.AclOperation.DESCRIBE_CONFIGS,
    }
    resources = {
        "topic": confluent.ResourceType.TOPIC,
        "group": confluent.ResourceType.GROUP,
        "transactional-id": confluent.ResourceType.TRANSACTIONAL_ID,
    }
    return confluent.AclBinding(
        resources[rule["resource"]],
        rule["name"],
        confluent.ResourcePatternType.PREFIXED
        if rule["pattern"] == "prefixed"
        else confluent.ResourcePatternType.LITERAL,
        f"User:{rule['principal']}",
        "*",
        operations[rule["operation"]],
        confluent.AclPermissionType.ALLOW,
    )

"""AWS Secrets Manager, through Amazon's own SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from watchkeeper.errors import SecretError
from watchkeeper.secrets._part import library, part


@dataclass(frozen=True)
class Aws:
    """Secrets Manager; `path` is a secret's name or ARN, `key` a part of the JSON in it.

    Who we are is found as the SDK does: environment, profile, role of the container or instance.

    :param region: the region; the SDK's own unless given.
    :param endpoint: another address of the service, such as that of a VPC endpoint.
    :param profile: which profile of the SDK's files.
    :param stage: which version of a secret.
    :param timeout: seconds one question may take.
    :param refresh: seconds after which a secret is read again.
    """

    region: str = ""
    endpoint: str = ""
    profile: str = ""
    stage: str = "AWSCURRENT"
    timeout: float = 5.0
    refresh: float = 300.0

    def open(self) -> Opened:
        """Find out who we are.

        :raises SecretError: boto3 is not installed, or knows no region.
        """
        return Opened(self)


class Opened:
    """A client of Secrets Manager."""

    def __init__(self, aws: Aws) -> None:
        boto3, self._aws = library("boto3", "aws"), aws
        self._failures = library("botocore.exceptions", "aws")
        config = library("botocore.config", "aws").Config(
            connect_timeout=aws.timeout,
            read_timeout=aws.timeout,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        try:
            session = boto3.session.Session(profile_name=aws.profile or None)
            self._client: Any = session.client(
                "secretsmanager",
                region_name=aws.region or None,
                endpoint_url=aws.endpoint or None,
                config=config,
            )
        except (self._failures.BotoCoreError, ValueError) as error:
            raise SecretError(f"aws: {type(error).__name__}", hint="set region, profile") from None

    def fetch(self, path: str, key: str) -> str:
        """Return one secret.

        :raises SecretError: it is not there, not for us, or the service cannot be asked.
        """
        try:
            found = self._client.get_secret_value(SecretId=path, VersionStage=self._aws.stage)
        except self._failures.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise SecretError(f"aws: {path!r}: {code}") from None
        except self._failures.BotoCoreError as error:
            raise SecretError(f"aws: {path!r}: {type(error).__name__}") from None
        if "SecretString" not in found:
            raise SecretError(f"aws: {path!r} is no text")
        return part("aws", path, found["SecretString"], key)

    def keep(self) -> None:
        """The SDK renews by itself."""

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


plugin = Aws

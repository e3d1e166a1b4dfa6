"""The parts of the embedded registry on one bucket."""

from dataclasses import dataclass

from nats.aio.client import Client

from micro_schema_registry._embedded.artifact_log import ArtifactLog
from micro_schema_registry._embedded.bucket import Bucket
from micro_schema_registry._embedded.contents import Contents
from micro_schema_registry._embedded.listing import Listing
from micro_schema_registry._embedded.rules import RuleBook


@dataclass(frozen=True)
class Store:
    """The parts of one bucket."""

    bucket: Bucket
    log: ArtifactLog
    contents: Contents
    rules: RuleBook
    listing: Listing

    @classmethod
    def on(cls, nc: Client, name: str, *, replicas: int, timeout: float) -> "Store":
        """Build the parts on a bucket; nothing is sent yet."""
        bucket = Bucket(nc, name, replicas=replicas, timeout=timeout)
        log, contents = ArtifactLog(bucket), Contents(bucket)
        return cls(bucket, log, contents, RuleBook(bucket, log, contents), Listing(bucket))

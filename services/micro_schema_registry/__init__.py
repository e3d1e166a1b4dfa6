"""Apicurio Registry clients, a registry on JetStream, and the schema registry as a NATS service.

Encoding is in ``micro_schema_registry.avro``, ``.serialization`` and ``.json_schema``, which import what they need only then.
"""

from micro_schema_registry._async_client import AsyncApicurioRegistryClient
from micro_schema_registry._auth import BearerAuth, KeycloakAuth
from micro_schema_registry._client import ApicurioRegistryClient
from micro_schema_registry._errors import (
    AuthenticationError,
    Cause,
    CodecError,
    DeserializationError,
    IncompatibleSchemaError,
    InvalidPayloadError,
    InvalidSchemaError,
    Problem,
    RegistryConnectionError,
    RegistryError,
    RequestRefusedError,
    ResolverError,
    SchemaExistsError,
    SchemaNotFoundError,
    SchemaRegistrationError,
    SerializationError,
)
from micro_schema_registry._models import (
    ArtifactInfo,
    CachedSchema,
    CompatibilityResult,
    Page,
    Reference,
    RegistryInfo,
    SchemaContent,
    VersionInfo,
)
from micro_schema_registry._protocol import SchemaRegistry
from micro_schema_registry._store import EmbeddedRegistry
from micro_schema_registry._store_transfer import IdMap

__all__ = [
    "ApicurioRegistryClient",
    "ArtifactInfo",
    "AsyncApicurioRegistryClient",
    "AuthenticationError",
    "BearerAuth",
    "CachedSchema",
    "Cause",
    "CodecError",
    "CompatibilityResult",
    "DeserializationError",
    "EmbeddedRegistry",
    "IdMap",
    "IncompatibleSchemaError",
    "InvalidPayloadError",
    "InvalidSchemaError",
    "KeycloakAuth",
    "Page",
    "Problem",
    "Reference",
    "RegistryConnectionError",
    "RegistryError",
    "RegistryInfo",
    "RequestRefusedError",
    "ResolverError",
    "SchemaContent",
    "SchemaExistsError",
    "SchemaNotFoundError",
    "SchemaRegistrationError",
    "SchemaRegistry",
    "SerializationError",
    "VersionInfo",
]

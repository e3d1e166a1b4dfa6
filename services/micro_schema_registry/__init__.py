"""Apicurio Registry clients, a registry on JetStream, and the schema registry as a NATS service."""

from micro_schema_registry._async_client import AsyncApicurioRegistryClient
from micro_schema_registry._auth import BearerAuth, KeycloakAuth
from micro_schema_registry._client import ApicurioRegistryClient
from micro_schema_registry._errors import (
    AuthenticationError,
    Cause,
    DeserializationError,
    IncompatibleSchemaError,
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
    "CompatibilityResult",
    "DeserializationError",
    "EmbeddedRegistry",
    "IdMap",
    "IncompatibleSchemaError",
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

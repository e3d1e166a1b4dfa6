"""Apicurio Registry clients, a registry on JetStream, and the schema registry as a NATS service.

Serializers and validators are in `micro_schema_registry.avro`, `.serialization` and
`.json_schema`, which import their libraries only when they are imported themselves.
"""

from micro_schema_registry import _extra  # noqa: F401 - first, as the imports below need the extra

# isort: split
from micro import __version__
from micro_schema_registry._apicurio.async_client import AsyncApicurioRegistryClient
from micro_schema_registry._apicurio.auth import BearerAuth, KeycloakAuth
from micro_schema_registry._apicurio.blocking_client import ApicurioRegistryClient
from micro_schema_registry._embedded.registry import EmbeddedRegistry
from micro_schema_registry._embedded.transfer import IdMap
from micro_schema_registry._errors import (
    AuthenticationError,
    Cause,
    ClosedError,
    CodecError,
    DeserializationError,
    IncompatibleSchemaError,
    InvalidArgumentError,
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
from micro_schema_registry._model.models import (
    ArtifactInfo,
    CachedSchema,
    CompatibilityResult,
    Page,
    Reference,
    RegistryInfo,
    SchemaContent,
    VersionInfo,
)
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._over_nats.client import NatsRegistryClient
from micro_schema_registry._service.backends import setup
from micro_schema_registry._service.config import ServiceConfig
from micro_schema_registry._service.lookup import CacheOptions
from micro_schema_registry._service.service import ServiceOptions, add_registry_service
from micro_schema_registry.serialization import WireFormat

__all__ = [
    "ApicurioRegistryClient",
    "ArtifactInfo",
    "AsyncApicurioRegistryClient",
    "AuthenticationError",
    "BearerAuth",
    "CacheOptions",
    "CachedSchema",
    "Cause",
    "ClosedError",
    "CodecError",
    "CompatibilityResult",
    "DeserializationError",
    "EmbeddedRegistry",
    "IdMap",
    "IncompatibleSchemaError",
    "InvalidArgumentError",
    "InvalidPayloadError",
    "InvalidSchemaError",
    "KeycloakAuth",
    "NatsRegistryClient",
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
    "ServiceConfig",
    "ServiceOptions",
    "VersionInfo",
    "WireFormat",
    "__version__",
    "add_registry_service",
    "setup",
]

for _name in __all__:  # tracebacks, reprs and pickles name the module that users import
    if _name != "__version__":
        globals()[_name].__module__ = __name__

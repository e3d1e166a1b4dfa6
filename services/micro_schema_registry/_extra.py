"""A check for the packages of the extra, made before anything else is imported."""

from importlib.util import find_spec

for module in ("httpx", "avro", "fastavro", "jsonschema", "jsonschema_rs", "grpc_tools"):
    if find_spec(module) is None:
        # Named like this package: `python -m` then ends with this line instead of a traceback.
        raise ModuleNotFoundError(
            f"{module!r} is missing: pip install 'natsmicro[schema-registry]'",
            name="micro_schema_registry",
        )

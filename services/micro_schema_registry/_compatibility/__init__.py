"""The compatibility rules of Avro, JSON Schema and Protobuf."""

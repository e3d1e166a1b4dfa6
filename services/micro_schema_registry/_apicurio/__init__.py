"""The HTTP clients of Apicurio Registry: one set of operations, a blocking and an async driver."""

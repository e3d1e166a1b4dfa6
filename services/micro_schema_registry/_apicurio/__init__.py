"""The clients of an Apicurio Registry: blocking and async, REST paths, authentication."""

"""The command `new`: a project of a service, made of a template."""

"""Documents made of declarations and of discovery: generated clients, AsyncAPI."""

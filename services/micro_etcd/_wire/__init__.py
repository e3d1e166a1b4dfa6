"""Messages between the service and its client: JSON models, headers, errors."""

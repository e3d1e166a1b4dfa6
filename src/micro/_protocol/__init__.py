"""The rules of ADR-32 as pure data: subjects, headers, models, deadlines."""

"""The comparison of JSON Schemas: parsing, facts, and the search for a proof."""

"""The command `top`: the busiest endpoints in a terminal application."""

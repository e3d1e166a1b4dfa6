"""The command `run`: the program, its workers and their supervisor."""

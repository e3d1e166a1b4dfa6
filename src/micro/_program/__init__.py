"""The program around services: Context, run(), signals and the order of a stop."""

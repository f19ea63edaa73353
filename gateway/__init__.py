"""The edge: HTTP in, commands out, answers back."""

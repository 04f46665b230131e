"""What the screen shows of a session: rows, time columns and levels, without a widget."""

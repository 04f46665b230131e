"""Values to text: pure functions that know no widget."""

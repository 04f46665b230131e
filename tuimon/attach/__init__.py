"""Floor 2: finding training processes and talking to them."""

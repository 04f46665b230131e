"""Floor 2: judgements, as pure functions over a run's history."""

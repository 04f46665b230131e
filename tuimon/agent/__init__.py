"""Floor 4, in the training process: probes, schedule, collector, publisher, guard."""

"""When the training has taken a step, with an optimizer of torch or without one."""

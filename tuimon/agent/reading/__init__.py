"""What is read of tensors in an observed step."""

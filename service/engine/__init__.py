"""Who computes what when: devices, executors, loaded variants."""

"""Traces that ui.perfetto.dev opens: `proto` writes Perfetto's protobuf, `record` listens to machines."""

"""One small module a trace format; `snapsim.traces.formats` binds them to names."""

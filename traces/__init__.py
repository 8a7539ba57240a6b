"""Request traces: readers, splits, scaling, synthetic generators and arrival samplers.

Nothing is imported here, so that `import traces` stays cheap. Start from:

- `traces.workload`: one `Workload` names a trace and how to play it, `open` makes it playable;
- `traces.samplers`: the compiled arrival samplers that a simulator calls;
- `traces.readers`: files in, DataFrames out;
- `traces.generators`: synthetic rates fitted to published traces;
- `traces.alpaserve`: AlpaServe's seeded gamma workload, request by request.
"""

"""SQL text to meaning. Pure: knows no I/O, and imports nothing from `proxy`."""

from parser.from_source import begin

begin()

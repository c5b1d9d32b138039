"""Numbers: what each shape costs, and everything else that is counted, from the hot path up to sums over workers."""

from proxy.measure.measures import Measures, ServerStats, Window
from proxy.measure.shapes import ShapeStats

__all__ = ["Measures", "ServerStats", "ShapeStats", "Window"]

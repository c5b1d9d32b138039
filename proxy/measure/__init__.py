"""Numbers: what each shape costs, and everything else that is counted, from the hot path up to sums over workers."""

from proxy.measure.measures import Measures, ServerStats
from proxy.measure.peers import Peers
from proxy.measure.shape_stats import ShapeStats
from proxy.measure.states import ServerState, SessionState
from proxy.measure.totals import Totals, merge
from proxy.measure.windows import Window

__all__ = ["Measures", "Peers", "ServerState", "ServerStats", "SessionState", "ShapeStats", "Totals", "Window", "merge"]

"""What one server had to do over some time: sums, and what is shown of them."""

from __future__ import annotations

from proxy.measure.ranking import Cell, Row

Load = dict[str, float]  # what is counted is added up, `.._max` is the largest, `.._last` the newest


def add_load(into: Load, more: Load) -> None:
    for name, value in more.items():
        if name.endswith("_max"):
            into[name] = max(into.get(name, value), value)
        elif name.endswith("_last"):
            into[name] = value
        else:
            into[name] = into.get(name, 0.0) + value


def server_row(cluster: str, address: str, role: str, load: Load, seconds: float) -> Row:
    """One server's line. Means are over the looks at it, rates over the window."""
    looks = load.get("looks", 0.0)

    def mean(name: str) -> Cell:
        return round(load[name] / looks, 3) if looks and name in load else None

    def rate(name: str, every: float = seconds) -> Cell:
        return round(load[name] / every, 3) if every and name in load else None

    status_s = load.get("status_s", 0.0)
    status_looks = load.get("status_looks", 0.0)
    return {
        "cluster": cluster,
        "role": role,
        "address": address,
        "statements_per_s": rate("commands"),
        "busy": mean("busy"),
        "busy_max": load.get("busy_max"),
        "limit": load.get("limit_max"),
        "waits_per_s": rate("waits"),
        "wait_ms": round(load["wait_ns"] / load["waits"] / 1e6, 3) if load.get("waits") else None,
        "down_pct": round(100 * load.get("down", 0.0) / looks, 2) if looks else None,
        "lag_max_s": load.get("lag_s_max"),
        "threads_running": round(load["threads_running"] / status_looks, 2) if status_looks else None,
        "threads_running_max": load.get("threads_running_max"),
        "threads_connected_max": load.get("threads_connected_max"),
        "pool_misses_per_s": rate("innodb_buffer_pool_reads", status_s),
        "rows_read_per_s": rate("rows_read", status_s),
        "rows_written_per_s": rate("rows_written", status_s),
        "data_mb": round(load["data_bytes_last"] / 2**20, 1) if "data_bytes_last" in load else None,
    }

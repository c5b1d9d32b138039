"""The change stream: a cluster's row changes, read from its binary log as a replica would, in a process of its own."""
